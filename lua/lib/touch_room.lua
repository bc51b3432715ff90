-- touch_room(room, room_ttl) slides the TTLs of a room in which somebody is, and notes that somebody is,
-- unless room.occupied says so already: where the members expire, it was not because they left.
local function touch_room(room, room_ttl)
  if room.occupied ~= '1' then redis.call('HSET', room.hash, 'occupied', '1') end
  redis.call('PEXPIRE', room.members, room.presence_ttl)
  redis.call('PEXPIRE', room.deadlines, room.presence_ttl)
  redis.call('PEXPIRE', room.hash, room_ttl)
  redis.call('PEXPIRE', room.messages, room_ttl)
end

