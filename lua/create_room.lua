-- Makes a room whose creator is a member of it, online for one presence TTL.
-- KEYS 7: 1 room, 2 members, 3 deadlines, 4 creator's session, 5 creator's presence, 6 members by name, 7 the
--         note that it was closed
-- DERIVED from KEYS 1: subjects, users
-- ARGV 10: 1 creator, 2 token hash, 3 presence TTL (ms), 4 session TTL (ms), 5 room TTL (ms) of a room that
--         has none of its own, 6 a list: other fields of the room's hash, each followed by its value: the
--         secret, of which the ids of its messages are made, and what its creator chose, 7 roomId, 8 a list: what
--         webhooks need, as hooks names it, 9 stem of the users' keys, 10 address of the creator
-- RETURNS {'OK'} or {'EXISTS'}: the id is in use, or was until its room was closed; take another
-- PROMISE 8: only the token's hash is stored. PROMISE 11: it is kept for as long as the room lives.
-- Needs: addresses, check_room, clock, hook, hook_member, hooks, note_address, index_next_lapse, note_user, room_json,
-- slide_room, subjects.
local room, members, session, presence, names = KEYS[1], KEYS[2], KEYS[4], KEYS[5], KEYS[6]
local told = {hash = room, members = members, deadlines = KEYS[3], names = names, id = ARGV[7],
  hooks = hooks(ARGV[8])}
local creator, token_hash = ARGV[1], ARGV[2]
local presence_ttl, session_ttl, room_ttl, fields = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local users, address = ARGV[9], ARGV[10]

if redis.call('EXISTS', room) == 1 or redis.call('EXISTS', KEYS[7]) == 1 then return {'EXISTS'} end

local created = clock()
check_room(told, created, {'users'})
redis.call('HLEN', session)
-- Events are counted from a number that no earlier room of this id had reached.
redis.call('HSET', room, 'creator', creator, 'creatorToken', token_hash, 'createdAt', created,
  'events', created, 'occupied', 1, unpack(fields))
redis.call('PEXPIRE', room, (lifetime(room, room_ttl)))
redis.call('HSET', session, 'token', token_hash, 'joinedAt', created)
note_address(session, keyed_address(redis.call('HGET', room, 'secret') or '', address), created)
redis.call('PEXPIRE', session, session_ttl)
told.users = users
note_user(told, creator)
note_subject(told, creator, token_hash)
redis.call('SADD', members, creator)
redis.call('ZADD', names, '0', creator)
redis.call('ZADD', told.deadlines, string.format('%d', created + presence_ttl), creator)
local stay = told.hooks and index_next_lapse(told) or presence_ttl
for _, key in ipairs({members, names, told.deadlines}) do redis.call('PEXPIRE', key, stay) end
redis.call('SET', presence, 'online', 'PX', presence_ttl)
if told.hooks then
  hook(told, 'room.created', room_json(told))
  hook_member(told, creator, true)
end
return {'OK'}
