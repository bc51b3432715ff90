-- Gives a guest without a socket a name in the room; it is no member until it joins.
-- KEYS 2: 1 room, 2 user's session
-- DERIVED from KEYS 1: bans, users
-- ARGV 6: 1 token hash, 2 session TTL (ms), 3 user, 4 a list: what webhooks need, as hooks names it, 5 stem of
--         the users' keys, 6 address of who asks
-- RETURNS {'OK'}, {'ROOM_NOT_FOUND'}, {'BANNED'}, {'ROOM_LOCKED'} or {'NAME_TAKEN'}
-- PROMISE 3: a retry with the same token is not a repeat.
-- PROMISE 8: a name that a live session holds is nobody else's. PROMISE 11: a locked room takes nobody
-- new, and none takes anybody from an address that is banned.
local room, session = KEYS[1], KEYS[2]
local token_hash, session_ttl, to = ARGV[1], ARGV[2], hooks(ARGV[4])

local facts = redis.call('HMGET', room, 'createdAt', 'locked', 'secret')
if not facts[1] then return {'ROOM_NOT_FOUND'} end
local is_taken = redis.call('EXISTS', session) == 1
-- Its own where the answer to an earlier try was lost.
local is_own = is_taken and redis.pcall('HGET', session, 'token') == token_hash
local keyed = keyed_address(facts[3] or '', ARGV[6])
if not is_own and is_banned(room, keyed) then return {'BANNED'} end
if facts[2] == '1' and not is_own then return {'ROOM_LOCKED'} end
if is_taken then
  -- Not for longer than a session lasts, where Redis's clock was set back.
  redis.call('PEXPIRE', session, session_ttl, 'LT')
  return {is_own and 'OK' or 'NAME_TAKEN'}
end

local now = clock()
redis.call('HSET', session, 'token', token_hash, 'joinedAt', now)
note_address(session, keyed, now)
redis.call('PEXPIRE', session, session_ttl)
note_user({hash = room, users = ARGV[5]}, ARGV[3])
if to then
  redis.pcall('SADD', to.absent, ARGV[3])
  redis.pcall('PEXPIRE', to.absent, to.session_ttl)
end
return {'OK'}
