-- write_event(to, kind, data) writes an event to be posted: `id type written-at tries data`, the
-- last as JSON. It never raises an error, because the change itself is already made. Above the
-- maximum number of waiting events, the oldest of all is dropped.
-- Needs: clock, drop_event, add_event.
local function write_event(to, kind, data)
  local now, made = clock(), redis.pcall('HINCRBY', to.state, 'made', '1')
  if type(made) ~= 'number' then return end
  add_event(to, string.format('evt_%s-%d %s %s 0 ', now, made, kind, now) .. data, now)
  local done = tonumber(redis.call('HGET', to.state, 'done')) or 0
  local longest = made - done > tonumber(to.most) and redis.pcall('ZRANGE', to.oldest, '0', '0')[1]
  if longest and drop_event(to, longest) then redis.call('HINCRBY', to.state, 'dropped', '1') end
end
