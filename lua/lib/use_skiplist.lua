-- use_skiplist(zset) makes Redis store a sorted set as a skip list. Redis stores up to 128 entries as a
-- list, and each change scans it, so a heartbeat of N members would cost N² steps. An entry that is too
-- long for a list converts it for good.
local function use_skiplist(zset)
  if redis.call('OBJECT', 'ENCODING', zset) == 'skiplist' then return end
  local long = string.rep(' ', 256)
  redis.call('ZADD', zset, '0', long)
  redis.call('ZREM', zset, long)
end

