-- Clears lapsed members of a room, when the grace of one of them is over or a call left some; shortens deadlines
-- that are too far ahead; and publishes the number of members that a large room still has to be told.
-- KEYS 5: 1 room, 2 members, 3 deadlines, 4 members by name, 5 away members
-- DERIVED from ARGV 3: session and presence of members that lapsed
-- ARGV 9: 1 roomId, 2 the room's channel, 3 prefix of the users' keys, 4 how long (ms) a recent outage prevented
--         heartbeats, 5 presence TTL (ms), 6 grace (ms), 7 maximum number of members in a list of them,
--         8 a list: what webhooks need, in the order of lua/lib/hooks.lua, 9 a list:
--         for each grace that is over by the clock of the node its user and the deadline (ms) that it had
-- RETURNS {'OK', in how many ms the room needs another sweep or ''} or {'ROOM_NOT_FOUND'}
-- PUBLISHES user_left; members, as publish_member_count describes
-- PROMISE 4: closing the last connection publishes one user_left after a grace, also if Redis's clock was set back.
-- Needs: bound_deadlines, check_room, clock, hooks, sweep_in, repair_name_index, index_next_lapse, sweep, publish_member_count.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3], names = KEYS[4], away = KEYS[5],
  id = ARGV[1], chan = ARGV[2], users = ARGV[3], deadline_extension = ARGV[4], presence_ttl = ARGV[5],
  roster_max = tonumber(ARGV[7]), hooks = hooks(ARGV[8])}
local now_ms = tonumber(clock())

local facts = redis.call('HMGET', room.hash, 'createdAt', 'large')
if not facts[1] then
  if room.hooks then redis.call('ZREM', room.hooks.lapses, room.id) end
  return {'ROOM_NOT_FOUND'}
end
room.large = facts[2]
check_room(room, now_ms)

-- A deadline that is still the one of the grace was not moved by a connection since, and that it is
-- ahead means that Redis's clock was set back.
local over, now = ARGV[9], string.format('%d', now_ms)
for i = 1, #over, 2 do
  if tonumber(over[i + 1]) > now_ms and redis.call('ZSCORE', room.deadlines, over[i]) == over[i + 1] then
    redis.call('ZADD', room.deadlines, 'XX', now, over[i])
  end
end
sweep(room, now_ms)
bound_deadlines(room, now_ms, ARGV[6])
if room.hooks then index_next_lapse(room) end
repair_name_index(room, redis.call('SCARD', room.members))
publish_member_count(room, now_ms)
return {'OK', again(room)}
