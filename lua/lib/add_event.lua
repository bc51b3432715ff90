-- add_event(to, event, at) puts an event at the end of its list, and has the nodes told of the list where it has no
-- event yet that waits, and does not rest until its time comes (to.delayed, where lists of this kind do). Needs nothing
-- of the list: its errors are nobody's.
local function add_event(to, event, at)
  redis.pcall('RPUSH', to.events, event)
  redis.pcall('PEXPIRE', to.events, to.age_max)
  if redis.pcall('ZADD', to.oldest, 'NX', at, to.events) == 1
    and not (to.delayed and redis.pcall('ZSCORE', to.delayed, to.events)) then
    redis.pcall('XADD', to.ready, '*', 'events', to.events)
  end
  for _, key in ipairs({to.oldest, to.ready, to.state}) do redis.pcall('PEXPIRE', key, to.age_max) end
end
