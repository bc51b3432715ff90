-- Ends the subscription of a user to pushes, as the user says, or the push service that no longer knows it.
-- KEYS 2: 1 room, 2 session of the user
-- DERIVED from KEYS 1: push; from ARGV 2: the pushes that wait
-- ARGV 5: 1 user, 2 stem of the users' keys, 3 token hash, or '' where the push service says so, 4 the address that
--         it no longer knows, or '', 5 a list: what pushes need, as pushes names it
-- RETURNS {'OK'}, {'ROOM_NOT_FOUND'} or {'INVALID_TOKEN'}
-- PROMISE 8: the token is that of a live session of the user, or the one that subscribed.
local room = {hash = KEYS[1], users = ARGV[2], push = pushes(ARGV[5])}
local session, user, token_hash, endpoint = KEYS[2], ARGV[1], ARGV[3], ARGV[4]
local kept = redis.pcall('HGET', room_key(room.hash, 'push'), user)
local by, known = string.match(type(kept) == 'string' and kept or '', '^(%S+) .* (%S+)$')

if token_hash == '' then
  -- Another one may have taken its place meanwhile.
  if known == endpoint then end_push(room, user) end
  return {'OK'}
end
if redis.call('HEXISTS', room.hash, 'createdAt') == 0 then return {'ROOM_NOT_FOUND'} end
if redis.pcall('HGET', session, 'token') ~= token_hash and by ~= author(token_hash) then return {'INVALID_TOKEN'} end
end_push(room, user)
return {'OK'}
