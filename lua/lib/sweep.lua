-- sweep(room, now_ms) removes the members whose deadline has passed. Every script that changes members
-- calls it, so nobody has to poll. room.spared (optional, ms) extends the deadlines after an outage in
-- which no heartbeat could move them. O(members removed). Needs: remove_member.
local function sweep(room, now_ms)
  local lapsed = redis.call('ZRANGEBYSCORE', room.deadlines, '-inf', string.format('%d', now_ms - (room.spared or 0)))
  for _, user in ipairs(lapsed) do remove_member(room, user) end
end

