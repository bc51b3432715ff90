-- The heartbeat of one room from one node: keeps the members alive whose connections were heard,
-- clears those that lapsed, and tells the node how far the room has come.
-- KEYS 5: 1 room, 2 members, 3 deadlines, 4 messages, 5 returning
-- DERIVED from ARGV 3: session and presence of the users named and of members that lapsed
-- ARGV 8 and on: 1 roomId, 2 the room's channel, 3 stem of the users' keys, 4 presence TTL (ms),
--          5 session TTL (ms), 6 room TTL (ms), 7 this node's channel, 8 the fence's tag; then for
--          each user: name, last message id read or '', number of connections, and for each of
--          these: connection id, age of its last heartbeat (ms), 'online' or 'away'
-- RETURNS {'OK', users without a session …} or {'ROOM_NOT_FOUND'}
-- PUBLISHES user_joined of users that had lapsed, presence, read, user_left, a fence to the node;
--          members, where all of them were gone without anybody being told
-- PROMISE 2: the fence shows a message that the subscription lost. PROMISE 4: whoever is left
-- clears the users of a node that died. PROMISE 5: where Redis was away for longer than a presence
-- lasts, the members expired with nobody told that they left; they return without join events.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3], messages = KEYS[4],
  id = ARGV[1], chan = ARGV[2], users = ARGV[3]}
local presence_ttl, session_ttl, room_ttl = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local node, tag = ARGV[7], ARGV[8]
local now_ms = tonumber(clock())

if redis.call('EXISTS', room.hash) == 0 then return {'ROOM_NOT_FOUND'} end

local reply = {'OK'}
local at = tip(room.messages, redis.call('HGET', room.hash, 'last'))
local next_arg = 9
if redis.call('EXISTS', room.members) == 0 and redis.call('HGET', room.hash, 'occupied') == '1' then
  -- The other nodes' users return with their own heartbeats, until about the next one.
  redis.call('SET', KEYS[5], 1, 'PX', math.ceil(presence_ttl / 2))
end
room.returning = redis.call('EXISTS', KEYS[5]) == 1
local heard = false
while next_arg <= #ARGV do
  local user, read, count = ARGV[next_arg], ARGV[next_arg + 1], tonumber(ARGV[next_arg + 2])
  next_arg = next_arg + 3
  local session = room.users .. user .. ':session'
  local known = redis.call('HMGET', session, 'token', 'read')
  if known[1] then
    for i = next_arg, next_arg + 3 * count - 3, 3 do
      redis.call('HSET', session, 'conn:' .. ARGV[i],
        string.format('%d %s', now_ms + presence_ttl - ARGV[i + 1], ARGV[i + 2]))
    end
    redis.call('PEXPIRE', session, math.max(session_ttl, presence_ttl))
    heard = settle(room, user, now_ms) or heard
    if read ~= '' and newer(read, at) then read = at end
    if read ~= '' and newer(read, known[2] or '0-0') then
      redis.call('HSET', session, 'read', read)
      announce(room, 'read', '"userId":' .. cjson.encode(user) .. ',"id":"' .. read .. '"')
    end
  else
    reply[#reply + 1] = user
  end
  next_arg = next_arg + 3 * count
end
sweep(room, now_ms)
if heard then keep(room, presence_ttl, room_ttl) end
if room.returned then tell_all(room) end
fence(room, node, tag, at)
return reply
