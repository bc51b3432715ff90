-- Asks whether a token may change what only a room's creator may. It changes nothing.
-- KEYS 2: 1 room, 2 session of the user whom the token names
-- ARGV 1: 1 proof
-- RETURNS {'OK'}, {'ROOM_NOT_FOUND'}, {'FORBIDDEN'} for somebody else in the room, or {'INVALID_TOKEN'}
-- PROMISE 8: whoever has no right to a change learns nothing else of it.
-- Needs: not_creator.
local refusal = not_creator(KEYS[1], KEYS[2], ARGV[1])
return {refusal or 'OK'}
