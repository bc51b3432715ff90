-- Clears the members of a room that lapsed, when the grace of one of them is over, and bounds deadlines that
-- are too far ahead.
-- KEYS 3: 1 room, 2 members, 3 deadlines
-- DERIVED from ARGV 3: session and presence of members that lapsed
-- ARGV 7: 1 roomId, 2 the room's channel, 3 stem of the users' keys, 4 for how long (ms) of late nobody
--         could be kept alive, 5 presence TTL (ms), 6 grace (ms), 7 a list: what webhooks need, as hooks
--         names it
-- RETURNS {'OK'} or {'ROOM_NOT_FOUND'}
-- PUBLISHES user_left
-- PROMISE 4: closing the last connection makes one user_left after a grace.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3],
  id = ARGV[1], chan = ARGV[2], users = ARGV[3], spared = ARGV[4], presence_ttl = ARGV[5],
  hooks = hooks(ARGV[7])}
local now_ms = tonumber(clock())

if redis.call('EXISTS', room.hash) == 0 then
  if room.hooks then redis.call('ZREM', room.hooks.lapses, room.id) end
  return {'ROOM_NOT_FOUND'}
end
check_room(room, now_ms)

sweep(room, now_ms)
bound_deadlines(room, now_ms, ARGV[6])
note_lapse(room)
return {'OK'}
