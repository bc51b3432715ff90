-- sweep(room, now_ms) clears the members whose deadline has passed. Whoever touches a room calls
-- it, so that nobody has to poll. room.spared, where it is given, is how much later (ms) a deadline counts,
-- since nobody could be kept alive for so long. O(members cleared).
-- Needs: depart.
local function sweep(room, now_ms)
  local lapsed = redis.call('ZRANGEBYSCORE', room.deadlines, '-inf', string.format('%d', now_ms - (room.spared or 0)))
  for _, user in ipairs(lapsed) do depart(room, user) end
end

