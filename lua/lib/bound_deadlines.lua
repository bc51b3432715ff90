-- bound_deadlines(room, now_ms, grace) -> whether a member would have lasted for longer than it may, and
-- lasts no longer now: for a presence (room.presence_ttl) where it has connections, else for a grace, both in
-- ms. It would where Redis's clock was set back, or somebody else wrote a deadline. Bounds the furthest ones, some
-- at a time: no call may keep Redis for long. Needs: has_connections, user_key.
local BOUNDED_AT_ONCE = 64

local function bound_deadlines(room, now_ms, grace)
  local is_bounded, far = false, string.format('(%d', now_ms + room.presence_ttl)
  for _, user in ipairs(redis.call('ZREVRANGEBYSCORE', room.deadlines, '+inf', far, 'LIMIT', '0', BOUNDED_AT_ONCE)) do
    local lasts = has_connections(user_key(room, user, 'session')) and room.presence_ttl or grace
    local latest = string.format('%d', now_ms + lasts)
    is_bounded = redis.call('ZADD', room.deadlines, 'LT', 'CH', latest, user) == 1 or is_bounded
  end
  return is_bounded
end
