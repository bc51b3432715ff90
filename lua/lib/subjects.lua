-- The room's `subjects` has the names of users whom JWTs name, by the hash of their `sub`. A name counts for as long
-- as its session is theirs.
-- subject_name(room, token_hash) -> the name of the running session of that user, or nil.
-- note_subject(room, user, token_hash): that user's session has this name. Whoever is new has two others looked at, so
-- that the hash does not grow with those whose session has ended. Nothing for any other token.
-- Needs: room_key, user_key, proof, last_as_long.
local function subject_name(room, token_hash)
  if not is_subject(token_hash) then return nil end
  local name = redis.pcall('HGET', room_key(room.hash, 'subjects'), token_hash)
  if type(name) ~= 'string' then return nil end
  return redis.pcall('HGET', user_key(room, name, 'session'), 'token') == token_hash and name or nil
end
local function note_subject(room, user, token_hash)
  if not is_subject(token_hash) then return end
  local subjects = room_key(room.hash, 'subjects')
  if redis.pcall('HSET', subjects, token_hash, user) ~= 1 then return end
  for _, other in ipairs(redis.call('HRANDFIELD', subjects, '2')) do
    if other ~= token_hash and not subject_name(room, other) then redis.call('HDEL', subjects, other) end
  end
  last_as_long(room.hash, subjects)
end

