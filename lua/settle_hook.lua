-- Notes what became of the event that a node tried last, and gives it the list's next: one call for each try. A room's
-- events for the webhook are one list, and so are the pushes of each user.
-- KEYS 6: 1 the list, 2 lists that are ready, 3 lists that wait for their time, 4 oldest event of each list, 5 state,
--         6 dead letters
-- ARGV 13: 1 roomId, 2 this node's name in the group, 3 id of the entry that gave it the list, 4 id of the
--         event that was tried, or '' for none, 5 'delivered', 'failed' or 'gone' (the receiver wants no more),
--         6 why it failed, 7 how long (ms) until it is tried again, or, where it was delivered, until
--         the next one may be, 8 tries that an event has, 9 what tells this
--         receiver from others, 10 '1' to go on with the list, '0' to leave it to whoever comes next, 11 for how
--         long (ms) what is kept lasts, 12 '1' for a list of the webhook, 13 '1' where this node posts to it
-- RETURNS {'OK', the next event, or '' where the node is done with the list, the time (ms), and 'dead' where the
--         event that was tried became a dead letter}
-- PROMISE 12: an event leaves its list once it was delivered, or is a dead letter; the next one waits for
-- that. A node that was thought dead changes nothing but what it delivered.
-- Needs: check_hooks, clock, drop_event, holds_entry.
local events, ready, delayed, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[6]
local to = {oldest = KEYS[4], state = KEYS[5]}
local room, node, entry, tried, outcome, why = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local pause, most, receiver, goes_on, lasts = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], ARGV[10] == '1', ARGV[11]
local is_hook, is_posted = ARGV[12] == '1', ARGV[13] == '1'
local now = clock()

check_hooks({events = events, ready = ready, delayed = delayed, oldest = to.oldest, state = to.state, dead = dead})

-- The list is given back; it waits until it is due, or is done.
local function give_back(due)
  redis.call('XACK', ready, 'nodes', entry)
  redis.call('XDEL', ready, entry)
  if due then
    redis.call('ZADD', delayed, due, events)
    redis.call('PEXPIRE', delayed, lasts)
  end
end

local first = redis.call('LINDEX', events, '0')
local is_first = tried ~= '' and first and string.sub(first, 1, #tried + 1) == tried .. ' '
if is_first and outcome == 'delivered' then drop_event(to, events) end
if not holds_entry(ready, node, entry) then return {'OK', '', now} end

local became = nil
if is_first and outcome == 'failed' then
  local id, kind, at, tries, data = string.match(first, '^(%S+) (%S+) (%d+) (%d+) (.*)$')
  tries = string.format('%d', tries + 1)
  if tonumber(tries) < most then
    redis.call('LSET', events, '0', table.concat({id, kind, at, tries, data}, ' '))
    give_back(string.format('%d', now + pause))
    return {'OK', '', now}
  end
  redis.call('XADD', dead, '*', 'id', id, 'type', kind, 'room', room, 'time', at, 'tries', tries, 'reason', why,
    'data', data)
  redis.call('PEXPIRE', dead, lasts)
  drop_event(to, events)
  became = 'dead'
end
if is_first and outcome == 'delivered' and pause > 0 then
  if redis.call('EXISTS', events) == 0 then redis.call('ZREM', to.oldest, events) end
  give_back(string.format('%d', now + pause))
  return {'OK', '', now}
end
if outcome == 'gone' then redis.call('HSET', to.state, 'stopped', receiver) end

first = redis.call('LINDEX', events, '0')
-- Something that another program wrote to the list is not an event.
while first and not string.find(first, '^%S+ %S+ %d+ %d+ ') do
  drop_event(to, events)
  first = redis.call('LINDEX', events, '0')
end
if not first then
  give_back()
  redis.call('ZREM', to.oldest, events)
elseif is_hook and (not is_posted or redis.call('HGET', to.state, 'stopped') == receiver) then
  -- Until the settings change.
  give_back('+inf')
  first = nil
elseif not goes_on then
  give_back()
  redis.call('XADD', ready, '*', 'events', events)
  first = nil
else
  redis.call('XCLAIM', ready, 'nodes', node, '0', entry, 'JUSTID')
end
return {'OK', first or '', now, became}
