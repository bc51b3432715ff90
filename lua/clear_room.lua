-- Deletes what there is of some more users of a room that was closed.
-- KEYS 2: 1 room, 2 members
-- DERIVED from KEYS 1: users, push; from ARGV 1: all that there is of some of its users
-- ARGV 2: 1 stem of the users' keys, 2 lines: what pushes need, as pushes names it
-- RETURNS {'OK', '1' where there is more to clear else '0'}
-- PROMISE 11: nothing is left of a room that was ended.
-- Needs: clear_users, pushes.
local room = {hash = KEYS[1], members = KEYS[2], users = ARGV[1], push = pushes(ARGV[2])}

if redis.call('EXISTS', room.hash) == 1 then return {'OK', '0'} end
return {'OK', clear_users(room) and '1' or '0'}
