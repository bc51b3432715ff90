-- Reads the name that a user of a JWT has in a room.
-- KEYS 1: 1 room
-- DERIVED from KEYS 1: subjects; from ARGV 1: session of that user
-- ARGV 2: 1 prefix of the users' keys, 2 token hash
-- RETURNS {'OK', the name of its running session or ''} or {'ROOM_NOT_FOUND'}
-- PROMISE 8: a name counts as long as the session of that name is this user's. PROMISE 5: it writes nothing,
-- so it runs while Redis refuses to write.
-- Needs: subjects.
local room = {hash = KEYS[1], users = ARGV[1]}

if redis.call('HEXISTS', room.hash, 'createdAt') == 0 then return {'ROOM_NOT_FOUND'} end
return {'OK', subject_name(room, ARGV[2]) or ''}
