-- Tells one node the whole truth about a room and who is in it, in order with the room's events, after
-- the node missed some.
-- KEYS 4: 1 room, 2 members, 3 members by name, 4 away members
-- DERIVED from KEYS 1: deleted, removed
-- ARGV 4: 1 roomId, 2 the node's channel, or '' where nothing that is published reaches it, 3 members that
--         the list names, at most, 4 number of events of which the node knows that it missed none
-- RETURNS {'OK'}, {'OK', events counted, the frames} where nothing is published, or {'ROOM_NOT_FOUND'}
-- PUBLISHES to the node: roomId, 'members', events counted, the frames: members, room, deleted for each
--           message that was deleted since, and removed for each session that was ended since, a line each
-- PROMISE 4: nobody is shown who is not there. PROMISE 11: a change of the room is not missed either, nor
-- that a message was deleted or somebody removed.
-- Needs: check_room, clock, deleted_messages, members_event, publish, removal, room_event.
local room = {hash = KEYS[1], members = KEYS[2], names = KEYS[3], away = KEYS[4], id = ARGV[1],
  roster_max = tonumber(ARGV[3])}
local node = ARGV[2]

if redis.call('EXISTS', room.hash) == 0 then return {'ROOM_NOT_FOUND'} end

check_room(room, clock(), {'deleted', 'removed'})
room.events = room.events or '0'
local frame = '{"t":"members","roomId":"' .. room.id .. '",' .. members_event(room) .. '}'
local frames = frame .. '\n{"t":"room","roomId":"' .. room.id .. '",' .. room_event(room.hash) .. '}'
for _, id in ipairs(deleted_since(room.hash, tonumber(ARGV[4]))) do
  frames = frames .. '\n{"t":"deleted","roomId":"' .. room.id .. '","id":"' .. id .. '"}'
end
local secret = redis.call('HGET', room.hash, 'secret') or ''
for _, ended in ipairs(removed_since(room, secret, ARGV[4])) do frames = frames .. '\n' .. ended end
if node == '' then return {'OK', room.events, frames} end
publish(node, room.id .. ' members ' .. room.events .. ' ' .. frames)
return {'OK'}
