-- keep(room, presence_ttl_ms, room_ttl_ms) slides the TTLs of a room in which somebody is, and
-- notes that somebody is: where the members expire, it was not because they left.
local function keep(room, presence_ttl_ms, room_ttl_ms)
  redis.call('HSET', room.hash, 'occupied', 1)
  redis.call('PEXPIRE', room.members, presence_ttl_ms)
  redis.call('PEXPIRE', room.deadlines, presence_ttl_ms)
  redis.call('PEXPIRE', room.hash, room_ttl_ms)
  redis.call('PEXPIRE', room.messages, room_ttl_ms)
end

