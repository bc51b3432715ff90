-- The hash `subjects` of a room has the names of users of JWTs, by the hash of their `sub`. A name counts as long
-- as the session of that name is theirs.
-- subject_name(room, token_hash) -> the name of the running session of that user, or nil.
-- note_subject(room, user, token_hash) stores the name of that user's session. Each new user has two others
-- checked, so that the hash does not keep growing with ended sessions. Other kinds of token are ignored.
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

