-- check_hooks(to) sees to it, before a script writes, that it can write all of it to what it needs of the keys that
-- webhooks have: where something else has taken the place of one of them, it raises an error.
local COUNTS = {events = 'LLEN', ready = 'XLEN', delayed = 'ZCARD', oldest = 'ZCARD', state = 'HLEN', dead = 'XLEN',
  lapses = 'ZCARD'}
local function check_hooks(to)
  for name, count in pairs(COUNTS) do
    if to[name] then redis.call(count, to[name]) end
  end
end
