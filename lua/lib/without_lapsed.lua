-- without_lapsed(room, members, now_ms) -> those of these members whose deadline has not passed, in
-- the same order. O(members named); the caller limits their number to what Lua's stack takes in one
-- call.
local function without_lapsed(room, members, now_ms)
  local live = {}
  if #members == 0 then return live end
  for i, lapses in ipairs(redis.call('ZMSCORE', room.deadlines, unpack(members))) do
    if not lapses or tonumber(lapses) > now_ms then live[#live + 1] = members[i] end
  end
  return live
end

