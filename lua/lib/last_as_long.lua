-- last_as_long(hash, key): the key lasts as long as the room, whatever the room did last. slide_room
-- keeps that up, where the room's hash says that there is something to keep.
local function last_as_long(hash, key)
  local left = redis.call('PTTL', hash)
  if left > 0 then redis.call('PEXPIRE', key, left) end
  redis.call('HSET', hash, 'order', '1')
end

