-- Lets connections into a room, each as a new guest or as the user of its token, and takes the snapshot that they
-- start from: one call for those that come at the same time. Each stands for itself: one that is refused keeps none
-- of the others out.
-- KEYS 7: 1 room, 2 members, 3 deadlines, 4 messages, 5 returning, 6 members by name, 7 away members; then for
--         each connection its user's session
-- DERIVED from ARGV 3: session and presence of these users and of members that lapsed; from KEYS 1: deleted, bans,
--         users, push; the users' pushes
-- ARGV 18: 1 roomId, 2 the room's channel, 3 stem of the users' keys, 4 presence TTL (ms), 5 session TTL (ms),
--          6 room TTL (ms), 7 members a room may have, 8 messages wanted without a last message seen,
--          9 messages given with it at most, 10 this node's channel, 11 '1' where Redis was away lately for so
--          long that members may have expired, else '0', 12 for how long (ms) of late nobody could be kept alive,
--          13 TTL of a provisional session (ms), 14 connections that a user may have, 15 bytes that the messages of
--          an answer may have, 16 members that a list of them names, at most, 17 a list: what webhooks need, as hooks
--          names it, 18 lines: what pushes need, as pushes names it. Then eight for each connection: user, 'guest' (the
--          name must be free, or taken by this very token, as where the answer to the first try was lost) or
--          'token' (it must be the user's), token hash, connection id, 'online' or 'away', last message id seen or '', the fence's tag, address
-- RETURNS {'ROOM_NOT_FOUND'}, or {'OK', members (JSON), those of them who are away (JSON), number of all members,
--         last message id, events counted, in how many ms the room wants a sweep or '', the facts of the room as
--         room_facts lists them, number of lists of messages, each of these oldest first, as read_entries gives
--         them, in MessagePack, and what became of each connection}. Of a connection: 'OK', joinedAt (ms), which
--         list is its own, how many messages at its beginning are not, '1' if there are more messages else '0', the
--         ids of the messages up to the last one seen that were deleted, in MessagePack; 'BANNED'; 'ROOM_LOCKED';
--         'NAME_TAKEN'; 'INVALID_TOKEN'; 'ROOM_FULL'; 'RATE_LIMITED' where the user has as many connections as it
--         may; 'FAILED', why; or 'LATER' where it did not come in, because the call had read enough messages
-- PUBLISHES user_joined, once per user; before it room, if another user than before has the creator's name;
--          presence; user_left of lapsed members; members, where somebody returns without user_joined, and as
--          publish_member_count says; a fence to the node, with the tags of all who came in
-- PROMISE 2: the fence parts what the snapshot holds from what the connections get afterwards.
-- PROMISE 4: a user with another connection, or inside the grace, has not left and does not join.
-- PROMISE 5: nor has one whose connection could not be kept alive while Redis was away.
-- PROMISE 6: no answer is larger than one who reads slowly can take.
-- PROMISE 8: a guest's session is provisional until its token is used, or a connection proves that it
-- heard the answer: one whose answer was lost gives the name back soon.
-- PROMISE 9: one user cannot have connections without end.
-- PROMISE 11: a locked room takes nobody new, and none takes anybody new from an address that is banned. The token
-- that it was made with is never turned away by that, and begins a new session where its user has none.
-- Needs: addresses, check_room, clock, confirm_session, fence, hooks, sweep_in, publish_change,
-- read_history, room_facts, room_key, roster, settle, slides, sweep, publish_member_count, tip, touch_room.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3], messages = KEYS[4],
  names = KEYS[6], away = KEYS[7], id = ARGV[1], chan = ARGV[2], users = ARGV[3], presence_ttl = ARGV[4],
  deadline_extension = ARGV[12], roster_max = tonumber(ARGV[16]), hooks = hooks(ARGV[17])}
local presence_ttl, session_ttl, room_ttl = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local most_members, latest, most = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local node, is_returned, provisional_ttl = ARGV[10], ARGV[11] == '1', ARGV[13]
local most_connections, most_bytes = tonumber(ARGV[14]), tonumber(ARGV[15])
local lasts = math.max(session_ttl, presence_ttl)
local now = clock()
local now_ms = tonumber(now)

local facts = room_facts(room.hash)
if not facts then return {'ROOM_NOT_FOUND'} end
local secret, locked = facts[3], facts[7] == '1'
most_members = math.min(most_members, tonumber(facts[9]) or most_members)
local noted
noted, room.events, room.occupied, room.large, room.slide_at =
  unpack(redis.call('HMGET', room.hash, 'last', 'events', 'occupied', 'large', 'slideAt'))
local has_more = may_have_more(room.slide_at)
-- What few rooms have: messages that were deleted, bans, and subscriptions to pushes.
local is_pushed = has_more and redis.call('HGET', room.hash, 'push')
room.deleted = has_more and room_key(room.hash, 'deleted')
local at = tip(room.messages, noted)
check_room(room, now_ms, has_more and {'users', 'bans', 'deleted'} or {'users'})
-- Whether somebody was cleared while nobody came in.
local has_changed = false

-- Why a connection may not come in, or nil. Notes with it what its user's session holds.
local function refusal(who)
  local keyed = keyed_address(secret, who.address)
  who.address = 'address:' .. keyed
  local session = redis.pcall('HMGET', who.session, 'token', 'joinedAt', 'provisional', who.address)
  if session.err then return 'FAILED', session.err end
  who.known, who.joined, who.provisional, who.knows_address = unpack(session)
  local is_own, is_creator = who.known == who.token_hash, who.token_hash == facts[4]
  if who.is_guest and not is_own and not is_creator then
    if has_more and is_banned(room.hash, keyed) then return 'BANNED' end
    if locked then return 'ROOM_LOCKED' end
  end
  if (who.is_guest or is_creator) and who.known and not is_own then
    -- Not for longer than a session lasts, where Redis's clock was set back.
    redis.call('PEXPIRE', who.session, lasts, 'LT')
    return 'NAME_TAKEN'
  end
  if not who.is_guest and not is_own and not is_creator then return 'INVALID_TOKEN' end
  -- Whatever touches a user reads all of its connections. A session has a few fields besides them.
  if redis.call('HLEN', who.session) >= most_connections
    and redis.call('HEXISTS', who.session, 'conn:' .. who.connection) == 0 then
    -- Needs: count_connections.
    if count_connections(who.session, now_ms) >= most_connections then return 'RATE_LIMITED' end
  end
  who.is_here = redis.call('SISMEMBER', room.members, who.user) == 1
  if who.is_here and not who.known then
    -- Somebody whose session ended, and whom nobody has cleared yet.
    -- Needs: remove_member.
    remove_member(room, who.user)
    who.is_here, has_changed = false, true
  end
  if who.is_here or redis.call('SCARD', room.members) < most_members then return nil end
  sweep(room, now_ms)
  has_changed = true
  if redis.call('SCARD', room.members) >= most_members then return 'ROOM_FULL' end
end

-- The lists of messages, by the last message seen: which list, how many at its beginning are not meant, and '1' if
-- there are more. Whoever has seen a message of a list that was read is given the rest of that.
local lists, own, places, read = {}, {}, {}, 0
local function history_since(since)
  local known = own[since] or places[since]
  if known then return known end
  if read > 0 and read >= most / 2 then return nil end
  local messages, more = read_history(room, secret, at, since, latest, most, most_bytes)
  read = read + #messages
  lists[#lists + 1] = cmsgpack.pack(messages)
  own[since] = {#lists, 0, more}
  for i = math.max(1, #messages - most), #messages do places[messages[i][1]] = {#lists, i, '0'} end
  return own[since]
end

local function come_in(who)
  room.returning = false
  if not who.is_here and is_returned then
    -- Needs: begin_return, has_connections, is_returning.
    begin_return(room, KEYS[5], presence_ttl)
    -- Whoever leaves has no connection left; whose connections just lapsed was never said to have left.
    room.returning = is_returning(KEYS[5], presence_ttl) and has_connections(who.session)
  end
  local fields = {who.address, now, 'conn:' .. who.connection, string.format('%d %s', now_ms + presence_ttl, who.status)}
  -- Where something else stands in place of the time, the user joins now.
  if not who.known or not string.find(who.joined or '', '^%d+$') or #who.joined > 15 then
    who.joined = now
    fields[5], fields[6], fields[7], fields[8] = 'token', who.token_hash, 'joinedAt', now
    if not who.known and who.is_guest then
      who.provisional, fields[9], fields[10] = '1', 'provisional', '1'
    end
  end
  redis.call('HSET', who.session, unpack(fields))
  if who.known and not who.knows_address then
    -- Needs: drop_addresses.
    drop_addresses(who.session)
  end
  redis.call('PEXPIRE', who.session, who.provisional and who.is_guest and provisional_ttl or lasts)
  if not who.known then
    -- Needs: note_user.
    note_user(room, who.user)
    if is_pushed then
      -- Needs: keep_push, pushes.
      room.push = pushes(ARGV[18])
      keep_push(room, who.user, who.token_hash)
    end
  end
  if who.provisional and not who.is_guest then confirm_session(who.session, lasts) end
  if who.user == facts[1] then
    -- Needs: note_creator.
    note_creator(room, facts, who.user, who.token_hash)
  end
  settle(room, who.user, now_ms, who.is_here)
end

local became, tags = {}, {}
local function note(...)
  for i = 1, select('#', ...) do became[#became + 1] = (select(i, ...)) end
end
for first = 19, #ARGV, 8 do
  local user, mode, token_hash, connection, status, since, tag, address = unpack(ARGV, first, first + 7)
  local who = {user = user, is_guest = mode == 'guest', token_hash = token_hash, connection = connection,
    status = status, address = address, session = KEYS[7 + (first - 11) / 8]}
  local refused, why = refusal(who)
  local history = not refused and history_since(since)
  if refused then
    note(refused, why)
  elseif not history then
    note('LATER')
  else
    come_in(who)
    tags[#tags + 1] = tag
    local deleted = {}
    if has_more then
      -- Needs: deleted_messages.
      deleted = deleted_up_to(room.hash, since)
    end
    note('OK', who.joined, string.format('%d', history[1]), string.format('%d', history[2]), history[3],
      cmsgpack.pack(deleted))
  end
end

local members, away, count, events = '[]', '[]', '0', '0'
if #tags > 0 then
  sweep(room, now_ms)
  touch_room(room, room_ttl, now_ms)
end
if #tags > 0 or has_changed then
  if not publish_member_count(room, now_ms) and room.returned and not room.large then
    -- Needs: publish_members.
    publish_members(room)
  end
end
if #tags > 0 then
  members, away, count = roster(room)
  events = fence(room, node, table.concat(tags, ','), at)
end
local answer = {'OK', members, away, count, at, events, again(room)}
for i = 1, #facts do answer[#answer + 1] = facts[i] end
answer[#answer + 1] = string.format('%d', #lists)
for i = 1, #lists do answer[#answer + 1] = lists[i] end
for i = 1, #became do answer[#answer + 1] = became[i] end
return answer
