-- Keeps the key that pushes are signed with: the first one that a node offers is that of all.
-- KEYS 1: 1 the key
-- ARGV 2: 1 what this node offers, 2 how long (ms) it is kept by whoever uses it
-- RETURNS {'OK', the key that is kept}
-- PROMISE 12: browsers take pushes only of the key that they subscribed with.
local kept, ttl = KEYS[1], ARGV[2]

redis.call('SET', kept, ARGV[1], 'NX', 'PX', ttl)
redis.call('PEXPIRE', kept, ttl)
return {'OK', redis.call('GET', kept)}
