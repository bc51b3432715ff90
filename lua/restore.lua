-- Restores a room that Redis lost, and its users with connections on this node.
-- KEYS 7: 1 room, 2 members, 3 deadlines, 4 messages, 5 members by name, 6 away members, 7 the note that it was
--         closed
-- DERIVED from ARGV 3: session, presence and pushes of the users named; from KEYS 1: removed, subjects, users, push
-- ARGV 14: 1 roomId, 2 the room's channel, 3 stem of the users' keys, 4 presence TTL (ms), 5 session
--          TTL (ms), 6 room TTL (ms) of a room that has none of its own, 7 this node's channel, 8 the
--          fence's tag, 9 a list: the facts of the room as room_facts lists them, 10 a list: for each user token
--          hash, name, joinedAt (ms), last message id read or '', '0' if none of its connections proved
--          that it heard the answer to its join else another digit, number of connections, and for each of these
--          connection id, how long it still lasts (ms), 'online' or 'away', and before that number the
--          addresses of its connections, with spaces between, 11 TTL of a provisional session (ms),
--          12 members that a list of them names, at most, 13 a list: what webhooks need, as hooks names it,
--          14 lines: what pushes need, as pushes names it
-- RETURNS {'OK', in how many ms the room wants a sweep or '', for each user who was not put back its name,
--         joinedAt (ms) and why: 'taken' where somebody else has the name, 'removed' or 'left' where the session
--         was ended …} or {'CLOSED'}: the room is not to come back
-- PUBLISHES members, in a large room as publish_member_count says, a fence to the node; no user_joined: nobody has noticed
--          that they were gone
-- PROMISE 5: Redis away, users stay. PROMISE 11: no node brings back what it did not hear the end of.
-- Needs: addresses, check_room, clock, fence, hooks, is_newer, keep_push, sweep_in, note_address, note_user,
-- publish_members, pushes, removal, room_facts, settle, subjects, publish_member_count, tip, touch_room, user_key.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3], messages = KEYS[4],
  names = KEYS[5], away = KEYS[6], id = ARGV[1], chan = ARGV[2], users = ARGV[3], presence_ttl = ARGV[4],
  returning = true, roster_max = tonumber(ARGV[12]), hooks = hooks(ARGV[13]), push = pushes(ARGV[14])}
local presence_ttl, session_ttl, room_ttl = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local now_ms = tonumber(clock())

if redis.call('EXISTS', KEYS[7]) == 1 then return {'CLOSED'} end

-- Another node may have restored it, and its creator may have changed options since: all facts
-- after the first five.
local is_lost = redis.call('HEXISTS', room.hash, 'createdAt') == 0
local noted, is_pushed
noted, room.large, room.slide_at, is_pushed = unpack(redis.call('HMGET', room.hash, 'last', 'large', 'slideAt', 'push'))
local at = tip(room.messages, noted)
check_room(room, now_ms, {'removed', 'users'})
for i, field in ipairs(FACTS) do
  local fact = ARGV[9][i]
  if fact ~= '' and (is_lost or i <= 5) then redis.call('HSETNX', room.hash, field, fact) end
end
-- Not from 0: a node that was cut off must not see its own count again by chance.
redis.call('HSETNX', room.hash, 'events', string.format('%d', now_ms))

local reply, is_changed = {'OK', ''}, is_lost
local secret = redis.call('HGET', room.hash, 'secret') or ''
local reported, at_user = ARGV[10], 1
while at_user <= #reported do
  local token_hash, user, joined, read = reported[at_user], reported[at_user + 1], reported[at_user + 2], reported[at_user + 3]
  local confirmed, addresses = reported[at_user + 4] ~= '0', reported[at_user + 5]
  local count = tonumber(reported[at_user + 6])
  local session = user_key(room, user, 'session')
  local known = redis.pcall('HGET', session, 'token')
  local ended = ended_by(room.hash, session_mark(joined, user))
  if ended or type(known) == 'string' and known ~= token_hash then
    local n = #reply
    reply[n + 1], reply[n + 2], reply[n + 3] = user, joined, ended or 'taken'
  elseif type(known) ~= 'table' then -- else something else has taken the place of the session
    if not known then
      redis.call('HSET', session, 'token', token_hash, 'joinedAt', joined)
      -- History may begin again: a read position beyond it does not count.
      if read ~= '' and is_newer(read, at) then read = at end
      if read ~= '' and read ~= '0-0' then redis.call('HSET', session, 'read', read) end
      if not confirmed then redis.call('HSET', session, 'provisional', '1') end
      if is_pushed then keep_push(room, user, token_hash) end
      note_user(room, user)
      note_subject(room, user, token_hash)
    elseif confirmed then
      redis.call('HDEL', session, 'provisional')
    end
    for address in string.gmatch(addresses, '%S+') do note_address(session, keyed_address(secret, address), now_ms) end
    for i = at_user + 7, at_user + 4 + 3 * count, 3 do
      redis.call('HSET', session, 'conn:' .. reported[i],
        string.format('%d %s', now_ms + reported[i + 1], reported[i + 2]))
    end
    local provisional = redis.call('HEXISTS', session, 'provisional') == 1
    redis.call('PEXPIRE', session, provisional and ARGV[11] or math.max(session_ttl, presence_ttl))
    settle(room, user, now_ms)
    is_changed = true
  end
  at_user = at_user + 7 + 3 * count
end
if not is_changed then return reply end
touch_room(room, room_ttl, now_ms)
if not publish_member_count(room, now_ms) and not room.large then publish_members(room) end
fence(room, ARGV[7], ARGV[8], at)
reply[2] = again(room)
return reply
