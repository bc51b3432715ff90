-- drop_event(to, events) takes the oldest event of a room off its list, and notes how old the next one is.
-- The room stays among those that have events until whoever posts them finds no more. Returns whether there
-- was one. Needs: clock.
local function drop_event(to, events)
  local event = redis.call('LPOP', events)
  if event then redis.call('HINCRBY', to.state, 'done', '1') end
  local at = string.match(redis.call('LINDEX', events, '0') or '', '^%S+ %S+ (%d+) ')
  redis.call('ZADD', to.oldest, 'XX', at or clock(), events)
  return event and true
end
