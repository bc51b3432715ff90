-- add_event(to, event) puts an event at the end of its room's list, and has the nodes told of the room where
-- it has no event yet that waits. Needs nothing of the list: its errors are nobody's.
local function add_event(to, event, at)
  redis.pcall('RPUSH', to.events, event)
  redis.pcall('PEXPIRE', to.events, to.age_max)
  if redis.pcall('ZADD', to.oldest, 'NX', at, to.events) == 1 then
    redis.pcall('XADD', to.ready, '*', 'events', to.events)
  end
  for _, key in ipairs({to.oldest, to.ready, to.state}) do redis.pcall('PEXPIRE', key, to.age_max) end
end
