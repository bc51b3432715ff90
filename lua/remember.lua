-- Stores the promise of an idempotent request before anything is changed: a retry gets the same promise,
-- whether the first attempt is complete, lost or still running.
-- KEYS 1: 1 promise
-- ARGV 3: 1 digest of the request's body, 2 the promise, encrypted, 3 idempotency TTL (ms)
-- RETURNS {'OK', digest, promise, '1' if it is completed else '0'}: those of the first attempt
-- PROMISE 3: a retry is not a repeat.
local promise, digest, sealed, ttl = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

if redis.call('EXISTS', promise) == 0 then
  redis.call('HSET', promise, 'digest', digest, 'sealed', sealed)
  redis.call('PEXPIRE', promise, ttl)
end
local known = redis.call('HMGET', promise, 'digest', 'sealed', 'kept')
return {'OK', known[1] or '', known[2] or '', known[3] and '1' or '0'}
