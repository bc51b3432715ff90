-- Takes one connection out of a room: at once when it says so, with a grace when it just closed.
-- KEYS 4: 1 room, 2 members, 3 deadlines, 4 user's session
-- DERIVED from ARGV 3: session and presence of this user and of members that lapsed
-- ARGV 11: 1 roomId, 2 the room's channel, 3 stem of the users' keys, 4 user, 5 connection id,
--         6 grace (ms), 0 for none, 7 session TTL (ms), 8 for how long (ms) of late nobody could be
--         kept alive, 9 '1' if the connection proved that it heard the answer to its join else '0',
--         10 how long a session lasts that is provisional still (ms), 11 presence TTL (ms)
-- RETURNS {'OK', 'stays'} (other connections are left), {'OK', 'grace'}, {'OK', 'left'} or
--         {'ROOM_NOT_FOUND'}
-- PUBLISHES user_left, presence
-- PROMISE 4: only the last connection of a user makes it leave, and a reload does not.
-- PROMISE 8: whoever may never have heard the answer to its join gives the name back soon.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3],
  id = ARGV[1], chan = ARGV[2], users = ARGV[3], spared = ARGV[8], presence_ttl = ARGV[11]}
local session, user, connection = KEYS[4], ARGV[4], ARGV[5]
local grace, session_ttl = tonumber(ARGV[6]), tonumber(ARGV[7])
local now_ms = tonumber(clock())

if redis.call('EXISTS', room.hash) == 0 then return {'ROOM_NOT_FOUND'} end
check_room(room, now_ms)

local outcome = 'stays'
local was_here = redis.pcall('HDEL', session, 'conn:' .. connection) == 1
if was_here and ARGV[9] == '1' then confirm_session(session, session_ttl) end
if was_here and not settle(room, user, now_ms) then
  local provisional = redis.call('HEXISTS', session, 'provisional') == 1
  redis.call('PEXPIRE', session, provisional and ARGV[10] or math.max(session_ttl, grace))
  if grace == 0 then
    outcome = 'left'
    remove_member(room, user)
  else
    outcome = 'grace'
    redis.call('ZADD', room.deadlines, string.format('%d', now_ms + grace), user)
    redis.call('PEXPIRE', user_key(room, user, 'presence'), grace)
    redis.call('PEXPIRE', room.members, grace, 'GT')
    redis.call('PEXPIRE', room.deadlines, grace, 'GT')
  end
end
sweep(room, now_ms)
return {'OK', outcome}
