-- is_returning(returning, presence_ttl) -> whether the members of a room return: begin_return sets
-- the key `returning`. A key with a longer TTL is ignored: the clock was set back, or another
-- program wrote it.
local function is_returning(returning, presence_ttl)
  local left = redis.call('PTTL', returning)
  return left >= 0 and left <= math.ceil(presence_ttl / 2)
end
