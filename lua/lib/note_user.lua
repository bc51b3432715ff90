-- note_user(room, user): the room's `users` are all users who may have data left, so that it can be deleted with
-- the room. Each new user has two others checked, so that the set does not keep growing with users who have no data
-- left.
-- forget_user(room, user) deletes all data of a user. user_keys(room, user) -> the keys of that data.
-- Needs: room_key, user_key.
local function user_keys(room, user)
  local keys = user_key(room, user, 'keys')
  return {user_key(room, user, 'session'), user_key(room, user, 'presence'), keys, keys .. ':old', user_key(room, user, 'pushes')}
end
local function forget_user(room, user)
  redis.call('UNLINK', unpack(user_keys(room, user)))
end
local function note_user(room, user)
  local users = room_key(room.hash, 'users')
  if redis.call('SADD', users, user) == 0 then return end
  for _, other in ipairs(redis.call('SRANDMEMBER', users, '2')) do
    if other ~= user and redis.call('EXISTS', unpack(user_keys(room, other))) == 0 then
      redis.call('SREM', users, other)
    end
  end
  local left = redis.call('PTTL', room.hash)
  if left > 0 then redis.call('PEXPIRE', users, left) end
end

