-- Remembers what a request that may be repeated is promised, before anything is changed: a retry is promised
-- the same, be the first try done, lost or still under way.
-- KEYS 1: 1 promise
-- ARGV 3: 1 digest of the request's body, 2 the promise, sealed, 3 idempotency TTL (ms)
-- RETURNS {'OK', digest, promise, '1' if it was kept else '0'}: those of the first try
-- PROMISE 3: a retry is not a repeat.
local promise, digest, sealed, ttl = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

if redis.call('EXISTS', promise) == 0 then
  redis.call('HSET', promise, 'digest', digest, 'sealed', sealed)
  redis.call('PEXPIRE', promise, ttl)
end
local known = redis.call('HMGET', promise, 'digest', 'sealed', 'kept')
return {'OK', known[1] or '', known[2] or '', known[3] and '1' or '0'}
