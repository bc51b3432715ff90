-- Ends a room as its creator says: deletes all that there is of it and of its users.
-- KEYS 9: 1 room, 2 members, 3 deadlines, 4 messages, 5 members by name, 6 away members, 7 returning, 8 the note
--         that it was closed, 9 session of the user whom the token names
-- DERIVED from KEYS 1: deleted, removed, bans, subjects, users, push; from ARGV 3: all that there is of its users
-- ARGV 7: 1 roomId, 2 the room's channel, 3 stem of the users' keys, 4 proof, 5 how long (ms) the note is kept,
--         6 a list: what webhooks need, as hooks names it, 7 a list: what pushes need, as pushes names it
-- RETURNS {'OK'}, {'ROOM_NOT_FOUND'}, {'FORBIDDEN'} for somebody else in the room, or {'INVALID_TOKEN'}
-- PUBLISHES removed, which tells nodes to take everybody out of the room
-- PROMISE 11: nothing brings it back, neither what is in progress nor a node that did not hear of it.
local room = {hash = KEYS[1], id = ARGV[1], users = ARGV[3], hooks = hooks(ARGV[6]),
  push = pushes(ARGV[7])}
local chan, proof_of_creator, kept = ARGV[2], ARGV[4], ARGV[5]

local refusal = not_creator(room.hash, KEYS[9], proof_of_creator)
if refusal then return {refusal} end

local proof = removal(redis.call('HGET', room.hash, 'secret') or '', 'everybody')
for _, user in ipairs(redis.pcall('HKEYS', room_key(room.hash, 'push'))) do end_push(room, user) end
for _, names in ipairs({room_key(room.hash, 'users'), KEYS[2]}) do
  for _, user in ipairs(redis.call('SMEMBERS', names)) do forget_user(room, user) end
end
redis.call('DEL', unpack(KEYS, 1, 7))
for _, what in ipairs({'deleted', 'removed', 'bans', 'subjects', 'users', 'push'}) do redis.call('DEL', room_key(room.hash, what)) end
redis.call('SET', KEYS[8], '1', 'PX', kept)
if room.hooks then
  redis.pcall('DEL', room.hooks.absent)
  redis.pcall('ZREM', room.hooks.lapses, room.id)
  hook(room, 'room.deleted', '{"roomId":"' .. room.id .. '"}')
end
redis.pcall('PUBLISH', chan,
  '{"t":"removed","roomId":"' .. room.id .. '","reason":"closed","proof":"' .. proof .. '"}')
return {'OK'}
