-- Takes connections out of a room: at once those that left, after a grace those that only closed.
-- KEYS 5: 1 room, 2 members, 3 deadlines, 4 members by name, 5 away members
-- DERIVED from ARGV 3: session and presence of the users named and of members that lapsed
-- ARGV 10: 1 roomId, 2 the room's channel, 3 prefix of the users' keys, 4 session TTL (ms), 5 how long (ms)
--         a recent outage prevented heartbeats, 6 TTL of a session that is still provisional (ms),
--         7 presence TTL (ms), 8 a list: for each connection its user, its id, the grace (ms), 0 for none, and
--         '1' if it proved that it got the answer to its join else '0', 9 maximum number of members in a
--         list of them, 10 a list: what webhooks need, in the order of lua/lib/hooks.lua
-- RETURNS {'OK', in how many ms the room needs a sweep or '', and for each connection 'stays' (its user has
--         other connections), 'left', or the deadline (ms) of the grace that begins} or {'ROOM_NOT_FOUND'}
-- PUBLISHES user_left, presence; members, as publish_member_count describes
-- PROMISE 4: only the last connection of a user makes it leave, and a reload does not.
-- PROMISE 8: a client that may never have got the answer to its join frees the name soon.
-- Needs: check_room, clock, confirm_session, hooks, sweep_in, index_next_lapse, remove_member, settle, sweep,
-- publish_member_count, user_key.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3], names = KEYS[4], away = KEYS[5],
  id = ARGV[1], chan = ARGV[2], users = ARGV[3], deadline_extension = ARGV[5], presence_ttl = ARGV[7],
  roster_max = tonumber(ARGV[9]), hooks = hooks(ARGV[10])}
local session_ttl, provisional_ttl, leaving = tonumber(ARGV[4]), ARGV[6], ARGV[8]
local now_ms = tonumber(clock())

local facts = redis.call('HMGET', room.hash, 'createdAt', 'large')
if not facts[1] then return {'ROOM_NOT_FOUND'} end
room.large = facts[2]
check_room(room, now_ms)

-- Reading the other connections of a user is the expensive part, so it is done once for all that
-- leave.
local reply, users, last = {'OK', ''}, {}, {}
for i = 1, #leaving, 4 do
  local user, grace, proven = leaving[i], tonumber(leaving[i + 2]), leaving[i + 3] == '1'
  local session, nth = user_key(room, user, 'session'), #reply + 1
  reply[nth] = 'stays'
  if redis.pcall('HDEL', session, 'conn:' .. leaving[i + 1]) == 1 then
    if proven then confirm_session(session, session_ttl) end
    if not last[user] then users[#users + 1] = user end
    last[user] = {nth = nth, grace = grace, session = session}
  end
end

for _, user in ipairs(users) do
  local grace, session = last[user].grace, last[user].session
  if not settle(room, user, now_ms) then
    local provisional = redis.call('HEXISTS', session, 'provisional') == 1
    redis.call('PEXPIRE', session, provisional and provisional_ttl or math.max(session_ttl, grace))
    if grace == 0 then
      reply[last[user].nth] = 'left'
      remove_member(room, user)
    else
      local deadline = string.format('%d', now_ms + grace)
      reply[last[user].nth] = deadline
      redis.call('ZADD', room.deadlines, deadline, user)
      redis.call('PEXPIRE', user_key(room, user, 'presence'), grace)
      for _, key in ipairs({room.members, room.deadlines, room.names, room.away}) do
        redis.call('PEXPIRE', key, grace, 'GT')
      end
    end
  end
end
sweep(room, now_ms)
if room.hooks then index_next_lapse(room) end
publish_member_count(room, now_ms)
reply[2] = again(room)
return reply
