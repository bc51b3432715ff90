-- Reads a room and who is in it, without those who lapsed.
-- KEYS 3: 1 room, 2 members, 3 deadlines
-- DERIVED from ARGV 1: session and presence of the members
-- ARGV 2: 1 stem of the users' keys, 2 how far ahead a deadline can be (ms)
-- RETURNS {'OK', the facts of the room as room_facts lists them, '1' if members have to be cleared, or their
--          deadlines are too far ahead, else '0', and for each other member: name, 'online' or 'away',
--          joinedAt (ms), last message id read or ''} or {'ROOM_NOT_FOUND'}
-- PROMISE 4: nobody is shown who is not there. PROMISE 5: it writes nothing, so it runs where Redis
-- refuses to.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3], users = ARGV[1]}

local facts = room_facts(room.hash)
if not facts then return {'ROOM_NOT_FOUND'} end

local now, lapsed = clock(), {}
for _, user in ipairs(redis.call('ZRANGEBYSCORE', room.deadlines, '-inf', now)) do lapsed[user] = true end
local far = string.format('(%d', now + ARGV[2])
local too_far = #redis.call('ZRANGEBYSCORE', room.deadlines, far, '+inf', 'LIMIT', '0', '1') > 0
local reply = {'OK', unpack(facts)}
reply[#reply + 1] = (next(lapsed) or too_far) and '1' or '0'
local members = redis.call('SMEMBERS', room.members)
local away = away_members(room, members)
for _, user in ipairs(members) do
  if not lapsed[user] then
    -- Where something else has taken the place of the session, there is nothing to tell of it.
    local kept = redis.pcall('HMGET', user_key(room, user, 'session'), 'joinedAt', 'read')
    local at = #reply
    reply[at + 1], reply[at + 2] = user, away[user] and 'away' or 'online'
    reply[at + 3], reply[at + 4] = kept[1] or facts[2], kept[2] or ''
  end
end
return reply
