-- Marks an idempotent request as completed: no retry runs it again, even if its result has been
-- deleted since.
-- KEYS 1: 1 promise
-- ARGV 0
-- RETURNS {'OK'}
-- PROMISE 3: a retry is not a repeat.
local promise = KEYS[1]

if redis.call('EXISTS', promise) == 1 then redis.call('HSET', promise, 'kept', '1') end
return {'OK'}
