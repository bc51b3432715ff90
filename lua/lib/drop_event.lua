-- drop_event(to, events) removes the oldest event from a room's list, and stores the age of the
-- next one. The room stays in the set of rooms with events until a courier finds no more. Returns
-- whether there was one. Needs: clock.
local function drop_event(to, events)
  local event = redis.call('LPOP', events)
  if event then redis.call('HINCRBY', to.state, 'done', '1') end
  local at = string.match(redis.call('LINDEX', events, '0') or '', '^%S+ %S+ (%d+) ')
  redis.call('ZADD', to.oldest, 'XX', at or clock(), events)
  return event and true
end
