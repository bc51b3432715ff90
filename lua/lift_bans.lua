-- Lifts all bans of a room.
-- KEYS 2: 1 room, 2 session of the token's user
-- DERIVED from KEYS 1: bans
-- ARGV 1: 1 proof
-- RETURNS {'OK'}, {'ROOM_NOT_FOUND'}, {'FORBIDDEN'} for another user of the room, or {'INVALID_TOKEN'}
-- PROMISE 11: a user who comes after the answer is let in.
-- Needs: not_creator, room_key.
local refusal = not_creator(KEYS[1], KEYS[2], ARGV[1])
if refusal then return {refusal} end

redis.call('DEL', room_key(KEYS[1], 'bans'))
return {'OK'}
