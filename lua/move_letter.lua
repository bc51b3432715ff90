-- Has one dead letter tried again, behind what waits in its list, or discards it.
-- KEYS 6: 1 dead letters, 2 the list that it was in, 3 lists that are ready, 4 oldest event of each list, 5 state,
--         6 lists that wait for their time
-- ARGV 3: 1 the letter's entry, 2 'replay' or 'discard', 3 for how long (ms) an event may wait
-- RETURNS {'OK', '1' if there was such a letter else '0'}
-- PROMISE 12: a letter is replayed under the id that it had.
-- Needs: add_event, check_hooks, clock.
local dead, entry, age_max = KEYS[1], ARGV[1], ARGV[3]
local to = {events = KEYS[2], ready = KEYS[3], oldest = KEYS[4], state = KEYS[5], delayed = KEYS[6], age_max = age_max}

check_hooks({events = to.events, ready = to.ready, oldest = to.oldest, state = to.state, dead = dead})
local found = redis.call('XRANGE', dead, entry, entry)[1]
if not found then return {'OK', '0'} end
if ARGV[2] == 'replay' then
  local fields, now = {}, clock()
  for i = 1, #found[2], 2 do fields[found[2][i]] = found[2][i + 1] end
  redis.call('HINCRBY', to.state, 'made', '1')
  add_event(to, table.concat({fields.id, fields.type, fields.time, '0', fields.data}, ' '), now)
end
redis.call('XDEL', dead, entry)
return {'OK', '1'}
