-- Tells one node the whole truth about a room and who is in it, in order with the room's events, after
-- the node missed some.
-- KEYS 3: 1 room, 2 members, 3 roster
-- DERIVED from ARGV 2: presence of the members
-- ARGV 3: 1 roomId, 2 stem of the users' keys, 3 the node's channel, or '' where nothing
--         that is published reaches it
-- RETURNS {'OK'}, {'OK', events counted, the frames} where nothing is published, or {'ROOM_NOT_FOUND'}
-- PUBLISHES to the node: roomId, 'members', events counted, the frames: members and room, a line each
-- PROMISE 4: nobody is shown who is not there. PROMISE 11: a change of the room is not missed either.
local room = {hash = KEYS[1], members = KEYS[2], roster = KEYS[3], id = ARGV[1], users = ARGV[2]}
local node = ARGV[3]

if redis.call('EXISTS', room.hash) == 0 then return {'ROOM_NOT_FOUND'} end

check_room(room, clock())
room.events = room.events or '0'
local members, away = roster(room)
local frame = '{"t":"members","roomId":"' .. room.id .. '","members":' .. members .. ',"away":' .. away .. '}'
local frames = frame .. '\n{"t":"room","roomId":"' .. room.id .. '",' .. room_event(room.hash) .. '}'
if node == '' then return {'OK', room.events, frames} end
redis.pcall('PUBLISH', node, room.id .. ' members ' .. room.events .. ' ' .. frames)
return {'OK'}
