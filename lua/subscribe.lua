-- Stores the push subscription of a user's browser. Each user of a room has one subscription: the last one.
-- KEYS 2: 1 room, 2 session of the user
-- DERIVED from KEYS 1: push
-- ARGV 5: 1 user, 2 token hash, 3 session TTL (ms), 4 the subscription in the form of read_push, 5 maximum number of
--         subscriptions of a room
-- RETURNS {'OK'}, {'ROOM_NOT_FOUND'}, {'INVALID_TOKEN'} or {'ROOM_FULL'}
-- PROMISE 8: it belongs to the session with this token, not to a later user of the name.
-- PROMISE 12: users who are not looking are notified.
-- Needs: author, confirm_session, last_as_long, room_key.
local room, session, user, token_hash = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local subscriptions, most = room_key(room, 'push'), tonumber(ARGV[5])

if redis.call('HEXISTS', room, 'createdAt') == 0 then return {'ROOM_NOT_FOUND'} end
if redis.pcall('HGET', session, 'token') ~= token_hash then return {'INVALID_TOKEN'} end
if redis.call('HLEN', subscriptions) >= most and redis.call('HEXISTS', subscriptions, user) == 0 then
  return {'ROOM_FULL'}
end

confirm_session(session, ARGV[3])
redis.call('HSET', subscriptions, user, author(token_hash) .. ' ' .. ARGV[4])
redis.call('HSET', room, 'push', '1')
last_as_long(room, subscriptions)
return {'OK'}
