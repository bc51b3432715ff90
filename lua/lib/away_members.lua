-- away_members(room, members) -> the away ones of these members, in the same order. O(members
-- named); the caller limits their number to what Lua's stack takes in one call.
local function away_members(room, members)
  local away = {}
  if #members == 0 or redis.call('SCARD', room.away) == 0 then return away end
  for i, is_away in ipairs(redis.call('SMISMEMBER', room.away, unpack(members))) do
    if is_away == 1 then away[#away + 1] = members[i] end
  end
  return away
end

