-- Lets a connection into a room, as a new guest or as the user of its token, and takes the
-- snapshot that the connection starts from.
-- KEYS 8: 1 room, 2 members, 3 deadlines, 4 messages, 5 user's session, 6 returning, 7 members by name,
--         8 away members
-- DERIVED from ARGV 3: session and presence of this user and of members that lapsed; from KEYS 1: deleted, bans,
--         users
-- ARGV 25: 1 roomId, 2 the room's channel, 3 stem of the users' keys, 4 user,
--          5 'guest' (the name must be free, or taken by this very token, as where the answer to
--          the first try was lost) or 'token' (it must be the user's), 6 token hash,
--          7 connection id, 8 'online' or 'away', 9 presence TTL (ms), 10 session TTL (ms),
--          11 room TTL (ms), 12 members a room may have, 13 last message id seen or '',
--          14 messages wanted without it, 15 messages given with it at most,
--          16 this node's channel, 17 the fence's tag, 18 '1' where Redis was away lately for so long
--          that members may have expired, else '0', 19 for how long (ms) of late nobody could be kept alive,
--          20 TTL of a provisional session (ms), 21 connections that a user may have,
--          22 bytes that the answer may have, 23 members that a list of them names, at most, 24 a list: what
--          webhooks need, as hooks names it, 25 address of the connection
-- RETURNS {'OK', members (JSON), those of them who are away (JSON), number of all members, joinedAt (ms), last
--          message id, events counted, in how many ms the room wants a sweep or '', '1' if there are more
--          messages else '0', messages oldest first, as read_entries gives them, in MessagePack, the ids of the
--          messages up to the last one seen that were deleted, in MessagePack, and the facts of the room as
--          room_facts lists them},
--          {'ROOM_NOT_FOUND'}, {'BANNED'}, {'ROOM_LOCKED'}, {'NAME_TAKEN'}, {'INVALID_TOKEN'}, {'ROOM_FULL'}, or
--          {'RATE_LIMITED'} where the user has as many connections as it may
-- PUBLISHES user_joined, once per user; presence; user_left of lapsed members; members, where this one
--          returns without user_joined, and as tell_size says; a fence to the node
-- PROMISE 2: the fence parts what the snapshot holds from what the connection gets afterwards.
-- PROMISE 4: a user with another connection, or inside the grace, has not left and does not join.
-- PROMISE 5: nor has one whose connection could not be kept alive while Redis was away.
-- PROMISE 6: the answer is no larger than one who reads slowly can take.
-- PROMISE 8: a guest's session is provisional until its token is used, or a connection proves that it
-- heard the answer: one whose answer was lost gives the name back soon.
-- PROMISE 9: one user cannot have connections without end.
-- PROMISE 11: a locked room takes nobody new, and none takes anybody new from an address that is banned. The token that it was made with is never turned away by that,
-- and begins a new session where its user has none.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3], messages = KEYS[4],
  names = KEYS[7], away = KEYS[8], id = ARGV[1], chan = ARGV[2], users = ARGV[3], presence_ttl = ARGV[9],
  spared = ARGV[19], roster_max = tonumber(ARGV[23]), hooks = hooks(ARGV[24])}
local session, user, mode, token_hash = KEYS[5], ARGV[4], ARGV[5], ARGV[6]
local connection, status = ARGV[7], ARGV[8]
local presence_ttl, session_ttl, room_ttl = tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11]
local most_members, since = tonumber(ARGV[12]), ARGV[13]
local latest, most, node, provisional_ttl = tonumber(ARGV[14]), tonumber(ARGV[15]), ARGV[16], ARGV[20]
local most_connections = tonumber(ARGV[21])
local now_ms = tonumber(clock())

local facts = room_facts(room.hash)
if not facts then return {'ROOM_NOT_FOUND'} end
local secret, is_creator, locked = facts[3], token_hash == facts[4], facts[7] == '1'
most_members = math.min(most_members, tonumber(facts[9]) or most_members)
local noted
noted, room.events, room.occupied, room.large =
  unpack(redis.call('HMGET', room.hash, 'last', 'events', 'occupied', 'large'))
local at = tip(room.messages, noted)
local known, joined, provisional = unpack(redis.call('HMGET', session, 'token', 'joinedAt', 'provisional'))
local lasts = math.max(session_ttl, presence_ttl)
local keyed = keyed_address(secret, ARGV[25])
if mode == 'guest' and known ~= token_hash and not is_creator then
  if is_banned(room.hash, keyed) then return {'BANNED'} end
  if locked then return {'ROOM_LOCKED'} end
end
if (mode == 'guest' or is_creator) and known and known ~= token_hash then
  -- Not for longer than a session lasts, where Redis's clock was set back.
  redis.call('PEXPIRE', session, lasts, 'LT')
  return {'NAME_TAKEN'}
end
if mode == 'token' and known ~= token_hash and not is_creator then return {'INVALID_TOKEN'} end
-- Whatever touches a user reads all of its connections. A session has a few fields besides them.
if redis.call('HLEN', session) >= most_connections
  and redis.call('HEXISTS', session, 'conn:' .. connection) == 0
  and count_connections(session, now_ms) >= most_connections then return {'RATE_LIMITED'} end
check_room(room, now_ms)
local is_here = redis.call('SISMEMBER', room.members, user) == 1
if is_here and not known then
  -- Somebody whose session ended, and whom nobody has cleared yet.
  remove_member(room, user)
  is_here = false
end
if not is_here then
  if redis.call('SCARD', room.members) >= most_members then sweep(room, now_ms) end
  if redis.call('SCARD', room.members) >= most_members then
    tell_size(room, now_ms)
    return {'ROOM_FULL'}
  end
end

if not is_here and ARGV[18] == '1' then
  begin_return(room, KEYS[6], presence_ttl)
  -- Whoever leaves has no connection left; whose connections just lapsed was never said to have left.
  room.returning = is_returning(KEYS[6], presence_ttl) and has_connections(session)
end
-- Where something else stands in place of the time, the user joins now.
if not known or not string.find(joined or '', '^%d+$') or #joined > 15 then
  joined = string.format('%d', now_ms)
  redis.call('HSET', session, 'token', token_hash, 'joinedAt', joined)
  if not known and mode == 'guest' then
    provisional = '1'
    redis.call('HSET', session, 'provisional', provisional)
  end
end
note_address(session, keyed, now_ms)
redis.call('HSET', session, 'conn:' .. connection,
  string.format('%d %s', now_ms + presence_ttl, status))
redis.call('PEXPIRE', session, provisional and provisional_ttl or lasts)
if not known then note_user(room, user) end
if mode == 'token' then confirm_session(session, lasts) end
settle(room, user, now_ms, is_here)
sweep(room, now_ms)
touch_room(room, room_ttl)
if not tell_size(room, now_ms) and room.returned and not room.large then publish_members(room) end

local members, away, count = roster(room, user)
local messages, more = read_history(room, secret, at, since, latest, most, tonumber(ARGV[22]))
local events = fence(room, node, ARGV[17], at)
return {'OK', members, away, count, joined, at, events, again(room), more, cmsgpack.pack(messages),
  cmsgpack.pack(deleted_up_to(room.hash, since)), unpack(facts)}
