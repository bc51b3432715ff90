-- Reads a room and who is in it, without those who lapsed.
-- KEYS 3: 1 room, 2 members, 3 deadlines
-- DERIVED from ARGV 3: session and presence of the members
-- ARGV 3: 1 roomId, 2 the room's channel, 3 stem of the users' keys
-- RETURNS {'OK', creator, createdAt (ms), '1' if encrypted else '0', topic or '', and for each member:
--          name, 'online' or 'away', joinedAt (ms), last message id read or ''} or {'ROOM_NOT_FOUND'}
-- PUBLISHES user_left of lapsed members
-- PROMISE 4: nobody is shown who is not there.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3],
  id = ARGV[1], chan = ARGV[2], users = ARGV[3]}

local facts = redis.call('HMGET', room.hash, 'createdAt', 'e2e', 'creator', 'topic')
if not facts[1] then return {'ROOM_NOT_FOUND'} end

sweep(room, clock())
local reply = {'OK', facts[3] or '', facts[1], facts[2] and '1' or '0', facts[4] or ''}
local members = redis.call('SMEMBERS', room.members)
local gone = away(room, members)
for _, user in ipairs(members) do
  -- Where something else has taken the place of the session, there is nothing to tell of it.
  local kept = redis.pcall('HMGET', user_key(room, user, 'session'), 'joinedAt', 'read')
  local at = #reply
  reply[at + 1], reply[at + 2] = user, gone[user] and 'away' or 'online'
  reply[at + 3], reply[at + 4] = kept[1] or facts[1], kept[2] or ''
end
return reply
