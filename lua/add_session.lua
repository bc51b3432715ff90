-- Gives somebody without a socket a name in the room, a guest or a user whom a JWT names; it is no member until it
-- joins. A user whom a JWT names keeps the name of its running session, whatever the JWT says.
-- KEYS 2: 1 room, 2 session of the name that is wanted
-- DERIVED from KEYS 1: bans, subjects, users, push; from ARGV 5: sessions of users whom JWTs name, pushes of the user
-- ARGV 7: 1 proof, 2 session TTL (ms), 3 user, 4 a list: what webhooks need, as hooks names it, 5 stem of
--         the users' keys, 6 address of who asks, 7 lines: what pushes need, as pushes names it
-- RETURNS {'OK', its name}, {'ROOM_NOT_FOUND'}, {'BANNED'}, {'ROOM_LOCKED'} or {'NAME_TAKEN'}
-- PROMISE 3: a retry with the same token is not a repeat.
-- PROMISE 8: a name that a live session holds is nobody else's. PROMISE 11: a locked room takes nobody
-- new, and none takes anybody from an address that is banned, but for whom the creator's powers are.
-- Needs: addresses, check_room, clock, hooks, keep_push, note_address, note_user, proof, pushes, subjects.
local room = {hash = KEYS[1], users = ARGV[5], push = pushes(ARGV[7])}
local session, session_ttl, user, to = KEYS[2], ARGV[2], ARGV[3], hooks(ARGV[4])
local token_hash, is_creator = read_proof(ARGV[1])

local facts = redis.call('HMGET', room.hash, 'createdAt', 'locked', 'secret', 'creatorToken', 'push')
if not facts[1] then return {'ROOM_NOT_FOUND'} end
local running = subject_name(room, token_hash)
if running then return {'OK', running} end
local is_taken = redis.call('EXISTS', session) == 1
-- It already has the name if the answer to an earlier attempt was lost.
local is_own = is_taken and redis.pcall('HGET', session, 'token') == token_hash
local keyed = keyed_address(facts[3] or '', ARGV[6])
if not is_own and not is_creator and facts[4] ~= token_hash then
  if is_banned(room.hash, keyed) then return {'BANNED'} end
  if facts[2] == '1' then return {'ROOM_LOCKED'} end
end
if is_taken then
  -- No longer than a session lasts, even if Redis's clock was set back.
  redis.call('PEXPIRE', session, session_ttl, 'LT')
  if not is_own then return {'NAME_TAKEN'} end
  note_subject(room, user, token_hash)
  return {'OK', user}
end

local now = clock()
check_room(room, now, {'users'})
redis.call('HSET', session, 'token', token_hash, 'joinedAt', now)
note_address(session, keyed, now)
redis.call('PEXPIRE', session, session_ttl)
if facts[5] then keep_push(room, user, token_hash) end
note_user(room, user)
note_subject(room, user, token_hash)
if to then
  redis.pcall('SADD', to.absent, user)
  redis.pcall('PEXPIRE', to.absent, to.session_ttl)
end
return {'OK', user}
