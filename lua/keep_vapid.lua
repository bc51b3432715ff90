-- Stores the key that signs pushes: all nodes use the first one that a node offers.
-- KEYS 1: 1 the key
-- ARGV 2: 1 the key that this node offers, 2 TTL (ms) of the stored key, renewed by each use
-- RETURNS {'OK', the stored key}
-- PROMISE 12: browsers accept only pushes signed with the key that they subscribed with.
local kept, ttl = KEYS[1], ARGV[2]

redis.call('SET', kept, ARGV[1], 'NX', 'PX', ttl)
redis.call('PEXPIRE', kept, ttl)
return {'OK', redis.call('GET', kept)}
