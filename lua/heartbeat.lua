-- The heartbeat of one room from one node: keeps the members alive whose connections were heard,
-- clears those that lapsed, and tells the node how far the room has come.
-- KEYS 6: 1 room, 2 members, 3 deadlines, 4 messages, 5 returning, 6 roster
-- DERIVED from ARGV 3: session and presence of the users named and of members that lapsed
-- ARGV 9: 1 roomId, 2 the room's channel, 3 stem of the users' keys, 4 presence TTL (ms), 5 session
--          TTL (ms), 6 room TTL (ms), 7 this node's channel, 8 the fence's tag, 9 a list: for each
--          user name, joinedAt (ms), last message id read or '', number of connections, and for each
--          of these connection id, age of its last heartbeat (ms), 'online' or 'away'
-- RETURNS {'OK', users without a session, or whose session is that of somebody who took the name
--          since …} or {'ROOM_NOT_FOUND'}
-- PUBLISHES user_joined of users that had lapsed, presence, read, user_left, a fence to the node;
--          members, where all of them were gone without anybody being told
-- PROMISE 2: the fence shows a message that the subscription lost. PROMISE 4: whoever is left
-- clears the users of a node that died. PROMISE 5: where Redis was away for longer than a presence
-- lasts, the members expired with nobody told that they left; they return without join events.
-- PROMISE 8: a connection from before its session was lost does not become whoever has the name now.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3], messages = KEYS[4],
  roster = KEYS[6], id = ARGV[1], chan = ARGV[2], users = ARGV[3], presence_ttl = ARGV[4],
  here = {}, due = {}}
local presence_ttl, session_ttl, room_ttl = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local node, tag, said = ARGV[7], ARGV[8], ARGV[9]
local now_ms = tonumber(clock())

local facts = redis.call('HMGET', room.hash, 'createdAt', 'occupied', 'events', 'last')
if not facts[1] then return {'ROOM_NOT_FOUND'} end
room.occupied, room.events = facts[2], facts[3]

local reply = {'OK'}
local at = tip(room.messages, facts[4])
local users, missing = {}, 0
local at_user = 1
while at_user <= #said do
  users[#users + 1] = said[at_user]
  at_user = at_user + 4 + 3 * said[at_user + 3]
end
if #users > 0 then
  for i, is_here in ipairs(redis.call('SMISMEMBER', room.members, unpack(users))) do
    if is_here == 1 then room.here[users[i]] = true else missing = missing + 1 end
  end
end
if missing == #users and room.occupied == '1' and redis.call('EXISTS', room.members) == 0 then
  -- The other nodes' users return with their own heartbeats, until about the next one.
  redis.call('SET', KEYS[5], 1, 'PX', math.ceil(presence_ttl / 2))
end
room.returning = missing > 0 and redis.call('EXISTS', KEYS[5]) == 1

local keeps = string.format('%d', math.max(session_ttl, presence_ttl))
local anybody = false
at_user = 1
for _, user in ipairs(users) do
  local joined, read, count = said[at_user + 1], said[at_user + 2], tonumber(said[at_user + 3])
  local session = room.users .. user .. ':session'
  local fields = redis.call('HGETALL', session)
  local is_known, known_read = false, '0-0'
  for i = 1, #fields, 2 do
    if fields[i] == 'joinedAt' and fields[i + 1] == joined then is_known = true end
    if fields[i] == 'read' then known_read = fields[i + 1] end
  end
  if is_known then
    local heard = {deadline = 0, status = 'away'}
    for i = at_user + 4, at_user + 1 + 3 * count, 3 do
      local field, lapses, shown = 'conn:' .. said[i], now_ms + presence_ttl - said[i + 1], said[i + 2]
      if lapses > now_ms then
        redis.call('HSET', session, field, string.format('%d %s', lapses, shown))
        heard[field], heard.deadline = true, math.max(heard.deadline, lapses)
        if shown == 'online' then heard.status = shown end
      end
    end
    redis.call('PEXPIRE', session, keeps)
    anybody = settle(room, user, now_ms, fields, heard) or anybody
    if read ~= '' and newer(read, at) then read = at end
    if read ~= '' and newer(read, known_read) then
      redis.call('HSET', session, 'read', read)
      announce(room, 'read', '"userId":' .. cjson.encode(user) .. ',"id":"' .. read .. '"')
    end
  else
    reply[#reply + 1] = user
  end
  at_user = at_user + 4 + 3 * count
end
if #room.due > 0 then
  redis.call('ZADD', room.deadlines, unpack(room.due))
  -- Two entries a user.
  if #room.due > 32 then grow(room.deadlines) end
end
sweep(room, now_ms)
if anybody then keep(room, room_ttl) end
if room.returned then tell_all(room) end
fence(room, node, tag, at)
return reply
