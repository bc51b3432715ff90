-- sweep(room, now_ms) clears the members whose deadline has passed. Whoever touches a room calls
-- it, so that nobody has to poll. room.spared, where it is given, is how much later (ms) a deadline counts,
-- since nobody could be kept alive for so long. room.longest is how far ahead (ms) a deadline can be: where
-- Redis's clock was set back, or somebody wrote another, it counts no longer than that. O(members cleared).
-- Needs: remove_member.
local function sweep(room, now_ms)
  local lapsed = redis.call('ZRANGEBYSCORE', room.deadlines, '-inf', string.format('%d', now_ms - (room.spared or 0)))
  for _, user in ipairs(lapsed) do remove_member(room, user) end
  local latest = string.format('%d', now_ms + room.longest)
  for _, user in ipairs(redis.call('ZRANGEBYSCORE', room.deadlines, '(' .. latest, '+inf')) do
    redis.call('ZADD', room.deadlines, latest, user)
  end
end

