-- What each node does once a second for what waits: says that it lives, takes over from those that do not, has
-- tried again what is due, drops what is too old, and reads how much there is.
-- KEYS 6: 1 lists that are ready, 2 lists that wait for their time, 3 oldest event of each list, 4 state,
--         5 dead letters, 6 when members of rooms lapse
-- ARGV 8: 1 this node's name in the group, 2 a list: ids of the entries that it has taken, 3 for how long (ms) a
--         node is silent before others take over, 4 lists that this one can take, 5 what tells this receiver from
--         others, 6 for how long (ms) an event may wait, 7 dead letters kept, 8 '1' where this node posts to the
--         webhook
-- RETURNS {'OK', '1' where the receiver wants no more else '0', how long (ms) until a list is tried or '', events that
--         wait, age (ms) of the oldest, dead letters, age (ms) of the oldest, events dropped ever, number of rooms
--         whose members lapsed, these rooms, and for each list taken over: id of its entry, its name}, or {'IDLE'} where nothing was ever
--         written and there is no webhook
-- PROMISE 12: a dead node's share is taken over; what waits for too long is counted before it is dropped.
-- PROMISE 4: members of a room in which nobody is left are cleared as well.
-- Needs: check_hooks, clock, drop_event, holds_entry.
local ready, delayed, dead, lapses = KEYS[1], KEYS[2], KEYS[5], KEYS[6]
local to = {oldest = KEYS[3], state = KEYS[4]}
local node, held, silent, wanted = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local receiver, age_max, letters_max = ARGV[5], tonumber(ARGV[6]), ARGV[7]
local is_posted, now = ARGV[8] == '1', clock()
local STEP = 100

if not is_posted and redis.call('EXISTS', ready) == 0 then return {'IDLE'} end
check_hooks({ready = ready, delayed = delayed, oldest = to.oldest, state = to.state, dead = dead, lapses = lapses})
redis.pcall('XGROUP', 'CREATE', ready, 'nodes', '0', 'MKSTREAM')
for _, entry in ipairs(held) do
  if holds_entry(ready, node, entry) then
    redis.call('XCLAIM', ready, 'nodes', node, '0', entry, 'JUSTID')
  end
end

local stopped = redis.call('HGET', to.state, 'stopped')
local is_stopped = is_posted and stopped == receiver
local wakes_all = is_posted and not is_stopped
if stopped and wakes_all then redis.call('HDEL', to.state, 'stopped') end
-- Those that wait for other settings of the webhook have no time.
local ends = wakes_all and {now, '+inf'} or {now}
for _, latest in ipairs(ends) do
  local first = latest == '+inf' and latest or '-inf'
  for _, events in ipairs(redis.call('ZRANGEBYSCORE', delayed, first, latest, 'LIMIT', '0', STEP)) do
    redis.call('ZREM', delayed, events)
    redis.call('XADD', ready, '*', 'events', events)
  end
end
local taken = {}
if wanted > 0 then
  taken = redis.call('XAUTOCLAIM', ready, 'nodes', node, silent, '0-0', 'COUNT', wanted)[2]
end
local first = redis.call('ZRANGE', delayed, '0', '0', 'WITHSCORES')[2]
local next_due = first ~= 'inf' and first or wakes_all and first and now
-- No list is in anybody's hands, though some have events: somebody deleted by hand what said so.
if not first and redis.call('XLEN', ready) == 0 then
  for _, events in ipairs(redis.call('ZRANGE', to.oldest, '0', STEP - 1)) do
    redis.call('XADD', ready, '*', 'events', events)
  end
end

-- Too old, or too many.
local dropped = redis.call('XTRIM', dead, 'MINID', string.format('%d', now - age_max))
  + redis.call('XTRIM', dead, 'MAXLEN', letters_max)
local oldest = redis.call('ZRANGE', to.oldest, '0', '0', 'WITHSCORES')
for _ = 1, STEP do
  if not oldest[2] or now - oldest[2] <= age_max then break end
  if drop_event(to, oldest[1]) then dropped = dropped + 1 end
  oldest = redis.call('ZRANGE', to.oldest, '0', '0', 'WITHSCORES')
end
if dropped > 0 then redis.call('HINCRBY', to.state, 'dropped', dropped) end
local counts = redis.call('HMGET', to.state, 'made', 'done', 'dropped')
-- No events wait: those that somebody deleted by hand no longer count.
if not oldest[2] and counts[1] then
  redis.call('HSET', to.state, 'done', counts[1])
  counts[2] = counts[1]
end

-- Nodes that are gone and hold no rooms.
for _, facts in ipairs(redis.call('XINFO', 'CONSUMERS', ready, 'nodes')) do
  if facts[2] ~= node and facts[4] == 0 and facts[6] > 600000 then
    redis.call('XGROUP', 'DELCONSUMER', ready, 'nodes', facts[2])
  end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, age_max) end

local function age(ms) return string.format('%d', ms and math.max(now - ms, 0) or 0) end
local letter = redis.call('XRANGE', dead, '-', '+', 'COUNT', '1')[1]
local reply = {'OK', is_stopped and '1' or '0', next_due and string.format('%d', math.max(next_due - now, 0)) or '',
  string.format('%d', (counts[1] or 0) - (counts[2] or 0)), age(oldest[2]),
  string.format('%d', redis.call('XLEN', dead)), age(letter and string.match(letter[1], '^%d+')), counts[3] or '0'}
-- Each is checked again later, in case the node that clears it now fails.
local lapsed = redis.call('ZRANGEBYSCORE', lapses, '-inf', now, 'LIMIT', '0', STEP)
reply[#reply + 1] = string.format('%d', #lapsed)
for _, room in ipairs(lapsed) do
  redis.call('ZADD', lapses, string.format('%d', now + 5000), room)
  reply[#reply + 1] = room
end
for _, entry in ipairs(taken) do
  reply[#reply + 1], reply[#reply + 2] = entry[1], entry[2][2]
end
return reply
