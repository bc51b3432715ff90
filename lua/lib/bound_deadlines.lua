-- bound_deadlines(room, now_ms, grace) -> whether a deadline was too far ahead and was shortened:
-- to a presence (room.presence_ttl) if the member has connections, else to a grace, both in ms.
-- That happens if Redis's clock was set back, or another program wrote a deadline. Shortens the
-- furthest ones, a limited number in each call, so that no call blocks Redis for long.
local BOUNDED_AT_ONCE = 64

local function bound_deadlines(room, now_ms, grace)
  local far = string.format('(%d', now_ms + room.presence_ttl)
  local users = redis.call('ZREVRANGEBYSCORE', room.deadlines, '+inf', far, 'LIMIT', '0', BOUNDED_AT_ONCE)
  if #users == 0 then return false end
  -- Needs: has_connections, user_key.
  local is_bounded = false
  for _, user in ipairs(users) do
    local lasts = has_connections(user_key(room, user, 'session')) and room.presence_ttl or grace
    local latest = string.format('%d', now_ms + lasts)
    is_bounded = redis.call('ZADD', room.deadlines, 'LT', 'CH', latest, user) == 1 or is_bounded
  end
  return is_bounded
end
