-- check_room(room, now, besides) sees to it, before a script writes, that it can write all of it: where something else
-- has taken the place of one of the room's keys, or of what it has besides (a list of room_key's words), it raises an
-- error. Where the number of events is none, they are counted from `now` (ms) on, which no node has counted to. Sets
-- room.events and room.size, the number of members.
local function check_room(room, now, besides)
  if besides then
    -- Needs: room_key.
    for _, what in ipairs(besides) do
      redis.call(what == 'users' and 'SCARD' or 'ZCARD', room_key(room.hash, what))
    end
  end
  if room.members then room.size = redis.call('SCARD', room.members) end
  if room.deadlines then redis.call('ZRANGEBYSCORE', room.deadlines, '0', '0') end
  if room.names then redis.call('ZCARD', room.names) end
  if room.away then redis.call('SCARD', room.away) end
  room.events = room.events or redis.call('HGET', room.hash, 'events')
  if room.events and (#room.events > 15 or not string.find(room.events, '^%d+$')) then
    room.events = string.format('%d', now)
    redis.call('HSET', room.hash, 'events', room.events)
  end
end
