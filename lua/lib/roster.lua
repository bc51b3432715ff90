-- roster(room) -> the members, sorted, and those of them that are away, both as JSON arrays.
-- O(members). Needs: json_list.
local function roster(room)
  local members, away = redis.call('SMEMBERS', room.members), {}
  table.sort(members)
  -- A call takes a limited number of arguments from Lua's stack, hence the steps.
  for first = 1, #members, 1000 do
    local keys = {}
    for i = first, math.min(first + 999, #members) do
      keys[#keys + 1] = room.users .. members[i] .. ':presence'
    end
    for i, status in ipairs(redis.call('MGET', unpack(keys))) do
      if status == 'away' then away[#away + 1] = members[first + i - 1] end
    end
  end
  return json_list(members), json_list(away)
end

