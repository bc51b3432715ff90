-- Gives a guest without a socket a name in the room; it is no member until it joins.
-- KEYS 2: 1 room, 2 user's session
-- ARGV 4: 1 token hash, 2 session TTL (ms), 3 user, 4 a list: what webhooks need, as hooks names it
-- RETURNS {'OK'}, {'ROOM_NOT_FOUND'}, {'ROOM_LOCKED'} or {'NAME_TAKEN'}
-- PROMISE 3: a retry with the same token is not a repeat.
-- PROMISE 8: a name that a live session holds is nobody else's. PROMISE 11: a locked room takes nobody new.
local room, session = KEYS[1], KEYS[2]
local token_hash, session_ttl, to = ARGV[1], ARGV[2], hooks(ARGV[4])

local facts = redis.call('HMGET', room, 'createdAt', 'locked')
if not facts[1] then return {'ROOM_NOT_FOUND'} end
local is_taken = redis.call('EXISTS', session) == 1
-- Its own where the answer to an earlier try was lost.
local is_own = is_taken and redis.pcall('HGET', session, 'token') == token_hash
if facts[2] == '1' and not is_own then return {'ROOM_LOCKED'} end
if is_taken then
  -- Not for longer than a session lasts, where Redis's clock was set back.
  redis.call('PEXPIRE', session, session_ttl, 'LT')
  return {is_own and 'OK' or 'NAME_TAKEN'}
end

redis.call('HSET', session, 'token', token_hash, 'joinedAt', clock())
redis.call('PEXPIRE', session, session_ttl)
if to then
  redis.pcall('SADD', to.absent, ARGV[3])
  redis.pcall('PEXPIRE', to.absent, to.session_ttl)
end
return {'OK'}
