-- use_skiplist(zset) has a sorted set of more than a few members kept as a skip list. Redis keeps up to 128
-- as a plain list, which each change walks through, so that a heartbeat of N members would cost N²
-- steps; a member longer than such a list may hold makes it a skip list, and that it stays.
local function use_skiplist(zset)
  if redis.call('OBJECT', 'ENCODING', zset) == 'skiplist' then return end
  local long = string.rep(' ', 256)
  redis.call('ZADD', zset, '0', long)
  redis.call('ZREM', zset, long)
end

