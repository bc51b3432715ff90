-- Ends the push subscription of a user, for the user, or because the push service reported that it has ended.
-- KEYS 2: 1 room, 2 session of the user
-- DERIVED from KEYS 1: push; from ARGV 2: the waiting pushes
-- ARGV 5: 1 user, 2 prefix of the users' keys, 3 token hash, or '' for a report of the push service, 4 the URL that
--         has ended, or '', 5 lines: what pushes need, in the order of lua/lib/pushes.lua
-- RETURNS {'OK'}, {'ROOM_NOT_FOUND'} or {'INVALID_TOKEN'}
-- PROMISE 8: the token is that of a live session of the user, or the one that subscribed.
-- Needs: author, end_push, pushes, room_key.
local room = {hash = KEYS[1], users = ARGV[2], push = pushes(ARGV[5])}
local session, user, token_hash, endpoint = KEYS[2], ARGV[1], ARGV[3], ARGV[4]
local kept = redis.pcall('HGET', room_key(room.hash, 'push'), user)
local by, known = string.match(type(kept) == 'string' and kept or '', '^(%S+) .* (%S+)$')

if token_hash == '' then
  -- Another subscription may have replaced it meanwhile.
  if known == endpoint then end_push(room, user) end
  return {'OK'}
end
if redis.call('HEXISTS', room.hash, 'createdAt') == 0 then return {'ROOM_NOT_FOUND'} end
if redis.pcall('HGET', session, 'token') ~= token_hash and by ~= author(token_hash) then return {'INVALID_TOKEN'} end
end_push(room, user)
return {'OK'}
