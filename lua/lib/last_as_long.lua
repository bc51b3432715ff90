-- last_as_long(hash, key) gives the key the remaining TTL of the room. slide_room renews both from
-- then on; the field `order` tells it that there is such a key, and `slideAt` has to tell it to other scripts.
local function last_as_long(hash, key)
  local left = redis.call('PTTL', hash)
  if left > 0 then redis.call('PEXPIRE', key, left) end
  redis.call('HSET', hash, 'order', '1')
  redis.call('HDEL', hash, 'slideAt')
end

