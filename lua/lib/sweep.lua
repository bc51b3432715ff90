-- sweep(room, now_ms) clears the members whose deadline has passed. Whoever touches a room calls
-- it, so that nobody has to poll. O(members cleared).
-- Needs: depart.
local function sweep(room, now_ms)
  local lapsed = redis.call('ZRANGEBYSCORE', room.deadlines, '-inf', now_ms)
  for _, user in ipairs(lapsed) do depart(room, user) end
end

