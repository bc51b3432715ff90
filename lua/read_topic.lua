-- Reads what a preview of a room's link may show, whoever asks. O(1), however many are in the room.
-- KEYS 1: 1 room
-- ARGV 0
-- RETURNS {'OK', topic, or '' without one and in an encrypted room} or {'ROOM_NOT_FOUND'}
-- PROMISE 8: nothing of an encrypted room, and nobody's name.
local room = KEYS[1]

local facts = redis.call('HMGET', room, 'createdAt', 'e2e', 'topic')
if not facts[1] then return {'ROOM_NOT_FOUND'} end

return {'OK', not facts[2] and facts[3] or ''}
