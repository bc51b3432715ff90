-- away_members(room, members) -> a table that has true for each of the members who is away. O(members).
-- Needs: user_key.
local function away_members(room, members)
  local found = {}
  -- A call takes a limited number of arguments from Lua's stack, hence the steps.
  for first = 1, #members, 1000 do
    local keys = {}
    for i = first, math.min(first + 999, #members) do
      keys[#keys + 1] = user_key(room, members[i], 'presence')
    end
    for i, status in ipairs(redis.call('MGET', unpack(keys))) do
      if status == 'away' then found[members[first + i - 1]] = true end
    end
  end
  return found
end

