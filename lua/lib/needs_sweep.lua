-- needs_sweep(room, now_ms, longest) -> whether lapsed members have not been cleared yet, or a
-- deadline is more than `longest` (ms) ahead, or the names have to be rebuilt. O(log members).
-- Needs: is_name_index_complete.
local function needs_sweep(room, now_ms, longest)
  local far = string.format('(%d', now_ms + longest)
  return redis.call('ZCOUNT', room.deadlines, '-inf', string.format('%d', now_ms)) > 0
    or redis.call('ZCOUNT', room.deadlines, far, '+inf') > 0 or not is_name_index_complete(room, redis.call('SCARD', room.members))
end

