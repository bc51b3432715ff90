-- Ends a room as its creator says: nobody can do anything in it from now on, and nothing of it is left but of its
-- users, which is deleted some users at a time: no call may keep Redis for long.
-- KEYS 9: 1 room, 2 members, 3 deadlines, 4 messages, 5 members by name, 6 away members, 7 returning, 8 the note
--         that it was closed, 9 session of the user whom the token names
-- DERIVED from KEYS 1: deleted, removed, bans, subjects, users, push; from ARGV 3: all that there is of some of its users
-- ARGV 8: 1 roomId, 2 the room's channel, 3 stem of the users' keys, 4 proof, 5 how long (ms) the note is kept,
--         6 how long (ms) what there is of users may last, 7 a list: what webhooks need, as hooks names it, 8
--         lines: what pushes need, as pushes names it
-- RETURNS {'OK', '1' where there is more to clear of its users else '0'}, {'ROOM_NOT_FOUND'}, {'FORBIDDEN'} for
--         somebody else in the room, or {'INVALID_TOKEN'}
-- PUBLISHES removed, which tells nodes to take everybody out of the room
-- PROMISE 11: nothing brings it back, neither what is in progress nor a node that did not hear of it.
-- Needs: clear_users, hook, hooks, not_creator, publish, pushes, removal, room_key.
local room = {hash = KEYS[1], members = KEYS[2], id = ARGV[1], users = ARGV[3], hooks = hooks(ARGV[7]),
  push = pushes(ARGV[8])}
local chan, proof_of_creator, kept, users_last = ARGV[2], ARGV[4], ARGV[5], ARGV[6]

local refusal = not_creator(room.hash, KEYS[9], proof_of_creator)
if refusal then return {refusal} end

local proof = removal(redis.call('HGET', room.hash, 'secret') or '', 'everybody')
redis.call('UNLINK', room.hash, unpack(KEYS, 3, 7))
for _, what in ipairs({'deleted', 'removed', 'bans', 'subjects'}) do redis.call('UNLINK', room_key(room.hash, what)) end
redis.call('SET', KEYS[8], '1', 'PX', kept)
-- Where whoever clears the users dies, this lasts no longer than they do.
for _, key in ipairs({room_key(room.hash, 'users'), room.members, room_key(room.hash, 'push')}) do
  redis.call('PEXPIRE', key, users_last, 'LT')
end
local is_more = clear_users(room)
if room.hooks then
  redis.call('UNLINK', room.hooks.absent)
  redis.pcall('ZREM', room.hooks.lapses, room.id)
  hook(room, 'room.deleted', '{"roomId":"' .. room.id .. '"}')
end
publish(chan, '{"t":"removed","roomId":"' .. room.id .. '","reason":"closed","proof":"' .. proof .. '"}')
return {'OK', is_more and '1' or '0'}
