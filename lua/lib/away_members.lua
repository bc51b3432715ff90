-- away_members(room, members) -> those of these members who are away, in their order. O(members named), which
-- are no more than one call takes from Lua's stack.
local function away_members(room, members)
  local away = {}
  if #members == 0 then return away end
  for i, is_away in ipairs(redis.call('SMISMEMBER', room.away, unpack(members))) do
    if is_away == 1 then away[#away + 1] = members[i] end
  end
  return away
end

