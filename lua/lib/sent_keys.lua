-- recall_key(keys, key) -> the value of a user's idempotency key, false if there is none, or an error if
-- something else was written to the hash's key; and when the hash began, which note_key needs.
-- note_key(keys, key, value, begun, now, now_ms, ttl) stores it for at least `ttl` (ms). A user's keys are in
-- two hashes: when the newer one is `ttl` old, it replaces the older one. So no field needs a TTL of its own,
-- and deleting a user's keys means deleting two keys. The field with the empty name stores when a hash began,
-- and that it is alone where there was no older one.
local function recall_key(keys, key)
  local found = redis.pcall('HMGET', keys, key, '')
  local value, begun = found[1], found[2]
  if found.err then return found end
  if value or begun and string.sub(begun, -6) == ' alone' then return value, begun end
  return redis.pcall('HGET', keys .. ':old', key), begun
end
local function note_key(keys, key, value, begun, now, now_ms, ttl)
  local age = now_ms - (tonumber(string.match(begun or '', '^%d+')) or -math.huge)
  if age >= 0 and age < ttl then
    redis.call('HSET', keys, key, value)
    return
  end
  if begun then redis.call('RENAME', keys, keys .. ':old') end
  redis.call('HSET', keys, '', begun and now or now .. ' alone', key, value)
  redis.call('PEXPIRE', keys, string.format('%d', 2 * ttl))
end
