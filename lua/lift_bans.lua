-- Lets everybody in again whom the room's creator kept out.
-- KEYS 2: 1 room, 2 session of the user whom the token names
-- DERIVED from KEYS 1: bans
-- ARGV 1: 1 proof
-- RETURNS {'OK'}, {'ROOM_NOT_FOUND'}, {'FORBIDDEN'} for somebody else in the room, or {'INVALID_TOKEN'}
-- PROMISE 11: whoever comes after the answer is let in.
local refusal = not_creator(KEYS[1], KEYS[2], ARGV[1])
if refusal then return {refusal} end

redis.call('DEL', room_key(KEYS[1], 'bans'))
return {'OK'}
