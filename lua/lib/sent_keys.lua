-- recall_key(keys, key) -> what is noted of a user's idempotency key, false for nothing, or an error where
-- something else has taken the place of the hash; and when the hash began, as note_key wants it.
-- note_key(keys, key, value, begun, now, now_ms, ttl) notes it, for at least `ttl` (ms). A user's keys lie in
-- two hashes: when the newer one is `ttl` old, it takes the place of the older one. So no key expires by
-- itself, and who forgets a user has two names to delete. The field without a name says when a hash began.
local function recall_key(keys, key)
  local found = redis.pcall('HMGET', keys, key, '')
  if found.err or found[1] then return found.err and found or found[1], found[2] end
  return redis.pcall('HGET', keys .. ':old', key), found[2]
end
local function note_key(keys, key, value, begun, now, now_ms, ttl)
  local age = now_ms - (tonumber(begun or '') or -math.huge)
  if age >= 0 and age < ttl then
    redis.call('HSET', keys, key, value)
    return
  end
  if begun then redis.call('RENAME', keys, keys .. ':old') end
  redis.call('HSET', keys, '', now, key, value)
  redis.call('PEXPIRE', keys, string.format('%d', 2 * ttl))
end

