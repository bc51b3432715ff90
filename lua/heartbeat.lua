-- The heartbeat of one room from one node: extends the members whose connections were heard, clears those
-- that lapsed, and tells the node the room's last message and number of events.
-- KEYS 7: 1 room, 2 members, 3 deadlines, 4 messages, 5 returning, 6 members by name, 7 away members
-- DERIVED from ARGV 3: session and presence of the users named and of members that lapsed
-- ARGV 16: 1 roomId, 2 the room's channel, 3 prefix of the users' keys, 4 presence TTL (ms), 5 session
--          TTL (ms), 6 room TTL (ms), 7 this node's channel, 8 the fence's tag, 9 a list: users,
--          10 a list: for each of these joinedAt (ms), last message id read or '', whether one of its
--          connections proved that it got the answer to its join: '0' if not, '1' if so, '2' if Redis was told of
--          it, number of connections, and for each connection its id, its remaining time (ms), 'online' or
--          'away', 11 how long (ms) a recent outage prevented heartbeats, 12 TTL of a provisional session (ms),
--          13 grace (ms), 14 maximum number of members in a list of them, 15 a list: what webhooks need, in the
--          order of lua/lib/hooks.lua, 16 a list: users who are here as well, but whose deadlines are still far
-- RETURNS {'OK', last message id, number of events, '1' if deadlines were too far ahead and the caller has
--          to sweep the room when they end, else '0', in how many ms the room needs a sweep or '', how
--          many of ARGV 16 are no members, these, and users without a session, or whose name has a newer
--          session of somebody else …} or {'ROOM_NOT_FOUND'}
-- PUBLISHES user_joined of users that had lapsed, presence, read, user_left, a fence to the node; members,
-- if all members had expired without user_left, and as publish_member_count describes
-- PROMISE 2: the fence reveals a message that the subscription lost; if nothing published arrives, the
-- answer reveals it. PROMISE 4: any surviving node clears the users of a node that died. PROMISE 5: if Redis
-- was away for longer than a presence lasts, the members expired and no user_left was published; they return
-- without join events. PROMISE 8: a connection whose session was lost does not act as the new user of that
-- name.
-- Needs: bound_deadlines, check_room, clock, fence, hooks, sweep_in, sweep, publish_member_count, tip, touch_room, user_key.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3], messages = KEYS[4],
  names = KEYS[6], away = KEYS[7], id = ARGV[1], chan = ARGV[2], users = ARGV[3], presence_ttl = ARGV[4],
  deadline_extension = ARGV[11], roster_max = tonumber(ARGV[14]), hooks = hooks(ARGV[15])}
local presence_ttl, session_ttl, room_ttl = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local node, tag, users, reported = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local provisional_ttl, grace = ARGV[12], ARGV[13]
local now_ms = tonumber(clock())

local facts = redis.call('HMGET', room.hash, 'createdAt', 'occupied', 'events', 'last', 'large', 'slideAt')
if not facts[1] then return {'ROOM_NOT_FOUND'} end
room.occupied, room.events, room.large, room.slide_at = facts[2], facts[3], facts[5], facts[6]

local at = tip(room.messages, facts[4])
check_room(room, now_ms)
local reply = {'OK', at, '0', '0', '', '0'}
local here = ARGV[16]
if #here > 0 then
  for i, is_member in ipairs(redis.call('SMISMEMBER', room.members, unpack(here))) do
    if is_member == 0 then reply[#reply + 1] = here[i] end
  end
  reply[6] = string.format('%d', #reply - 6)
end
local is_here, missing = {}, 0
if #users > 0 then
  is_here = redis.call('SMISMEMBER', room.members, unpack(users))
  for i = 1, #users do missing = missing + 1 - is_here[i] end
end
if missing > 0 or room.size == 0 then
  -- Needs: begin_return, is_returning.
  if missing == #users then begin_return(room, KEYS[5], presence_ttl) end
  room.returning = missing > 0 and is_returning(KEYS[5], presence_ttl)
end

local keeps = string.format('%d', math.max(session_ttl, presence_ttl))
-- Deadlines and their users; users for whom the room changes, each followed by whether it is a member; and users
-- who have read on, each followed by the last message id read.
local due, changing, reading = {}, {}, {}
local next_user = 1
for i = 1, #users do
  local user, joined, read, proof = users[i], reported[next_user], reported[next_user + 1], reported[next_user + 2]
  local first, count = next_user + 4, tonumber(reported[next_user + 3])
  next_user = first + 3 * count
  local session = user_key(room, user, 'session')
  -- If something else was written to the session's key, only this user lapses.
  local known = redis.pcall('HMGET', session, 'joinedAt', 'away')
  if known[1] == joined then
    -- The combined status of these connections, and how long it holds.
    local deadline, left, status, lapses = 0, '0', 'away', nil
    for at_connection = first, next_user - 1, 3 do
      local lasts, shown = reported[at_connection + 1], reported[at_connection + 2]
      local ends = now_ms + lasts
      local lapses_at = string.format('%d', ends)
      redis.call('HSET', session, 'conn:' .. reported[at_connection], lapses_at .. ' ' .. shown)
      if ends > deadline then deadline, lapses, left = ends, lapses_at, lasts end
      if shown == 'online' then status = shown end
    end
    if proof == '1' then redis.call('HDEL', session, 'provisional') end
    local is_provisional = proof == '0' and redis.call('HEXISTS', session, 'provisional') == 1
    redis.call('PEXPIRE', session, is_provisional and provisional_ttl or keeps)
    -- If the room already shows this status of the user, its other connections change nothing and
    -- can only extend it.
    if is_here[i] == 1 and status == (known[2] and 'away' or 'online')
      and redis.call('PEXPIRE', user_key(room, user, 'presence'), left, 'GT') == 1 then
      due[#due + 1], due[#due + 2] = lapses, user
    else
      changing[#changing + 1], changing[#changing + 2] = user, is_here[i] == 1
    end
    if read ~= '' then reading[#reading + 1], reading[#reading + 2] = user, read end
  elseif not known.err then
    reply[#reply + 1] = user
  end
end
local anybody = #due > 0
if #changing > 0 then
  -- Needs: publish_change, settle.
  for i = 1, #changing, 2 do anybody = settle(room, changing[i], now_ms, changing[i + 1]) or anybody end
end
if #reading > 0 then
  -- Needs: is_newer, publish_change.
  for i = 1, #reading, 2 do
    local user, read = reading[i], reading[i + 1]
    local session = user_key(room, user, 'session')
    local known = redis.call('HGET', session, 'read')
    if is_newer(read, at) then read = at end
    -- A noted read position beyond the last message does not count.
    local noted = known and not is_newer(known, at) and known or '0-0'
    if is_newer(read, noted) then
      redis.call('HSET', session, 'read', read)
      publish_change(room, 'read', '"userId":' .. cjson.encode(user) .. ',"id":"' .. read .. '"')
    end
  end
end
if #due > 0 then
  redis.call('ZADD', room.deadlines, unpack(due))
  -- Two entries a user.
  if #due > 32 then
    -- Needs: use_skiplist.
    use_skiplist(room.deadlines)
  end
end
sweep(room, now_ms)
if bound_deadlines(room, now_ms, grace) then reply[4] = '1' end
if anybody then touch_room(room, room_ttl, now_ms) end
if not publish_member_count(room, now_ms) and room.returned and not room.large then
  -- Needs: publish_members.
  publish_members(room)
end
reply[3] = fence(room, node, tag, at)
reply[5] = again(room)
return reply
