-- Removes a user from a room, as the room's creator or the user itself says: its session ends, the name is free.
-- KEYS 7: 1 room, 2 members, 3 deadlines, 4 session of the user to remove, 5 session of the user whom the token
--         names, 6 members by name, 7 away members
-- DERIVED from KEYS 1: removed, bans, users, push; from ARGV 3: all that there is of the user
-- ARGV 11: 1 roomId, 2 the room's channel, 3 stem of the users' keys, 4 user to remove, 5 proof, 6 '1' to ban
--         the addresses of its connections, 7 bans at most, 8 removed sessions that are remembered at most,
--         9 members that a list of them names, at most, 10 a list: what webhooks need, as hooks names it,
--         11 lines: what pushes need, as pushes names it
-- RETURNS {'OK', in how many ms the room wants a sweep or ''}, {'ROOM_NOT_FOUND'}, {'NOT_FOUND'}, {'FORBIDDEN'} for somebody else in the room, or
--         {'INVALID_TOKEN'}
-- PUBLISHES removed, which tells nodes to take the user's connections out of the room; user_left; members, as
--         publish_member_count says
-- PROMISE 4: one user_left, however many connections. PROMISE 11: what the user sends is not stored from now on,
-- and no node that did not hear of it puts its session back: it is remembered as removed.
-- Needs: addresses_of, check_room, clock, end_push, hooks, last_as_long, sweep_in, not_creator, note_user,
-- publish_event, pushes, removal, remove_member, room_key, publish_member_count.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3], names = KEYS[6], away = KEYS[7],
  id = ARGV[1], chan = ARGV[2], users = ARGV[3], roster_max = tonumber(ARGV[9]), hooks = hooks(ARGV[10]), push = pushes(ARGV[11])}
local session, own_session = KEYS[4], KEYS[5]
local user, bans, most_bans, most_removed = ARGV[4], ARGV[6] == '1', ARGV[7], tonumber(ARGV[8])
local now = clock()

local refusal, token_hash = not_creator(room.hash, own_session, ARGV[5])
local known = redis.pcall('HMGET', session, 'token', 'joinedAt')
local is_self = session == own_session and known[1] == token_hash
if refusal and (refusal ~= 'FORBIDDEN' or bans or not is_self) then return {refusal} end
local is_here = redis.call('SISMEMBER', room.members, user) == 1
if not is_here and redis.call('EXISTS', session) == 0 then
  -- Whose session has ended may be told of messages still.
  return end_push(room, user) and {'OK', ''} or {'NOT_FOUND'}
end
check_room(room, now, {'removed', 'bans', 'users'})
room.large = redis.call('HGET', room.hash, 'large')

if bans and not known.err then
  local banned = room_key(room.hash, 'bans')
  for _, address in ipairs(addresses_of(session)) do redis.call('ZADD', banned, now, address.keyed) end
  redis.call('ZREMRANGEBYRANK', banned, '0', string.format('%d', -most_bans - 1))
  last_as_long(room.hash, banned)
end
local joined, reason = known[2] or '', is_self and 'left' or 'removed'
publish_event(room, 'removed', removal_event(redis.call('HGET', room.hash, 'secret') or '', joined, user, reason))
note_removal(room.hash, session_mark(joined, user), reason, room.events, most_removed)
last_as_long(room.hash, room_key(room.hash, 'removed'))
remove_member(room, user)
end_push(room, user)
forget_user(room, user)
if room.hooks then redis.pcall('SREM', room.hooks.absent, user) end
redis.call('SREM', room_key(room.hash, 'users'), user)
publish_member_count(room, tonumber(now))
return {'OK', again(room)}
