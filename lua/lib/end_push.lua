-- end_push(room, user) ends the subscription of a user, and deletes its waiting pushes. Returns whether there was a
-- subscription. Foreign values in these keys are not an error. room.push is the result of `pushes`.
-- Needs: room_key, user_key.
local function end_push(room, user)
  local subscriptions, list = room_key(room.hash, 'push'), user_key(room, user, 'pushes')
  if redis.pcall('HDEL', subscriptions, user) ~= 1 then return false end
  if redis.call('EXISTS', subscriptions) == 0 then redis.call('HDEL', room.hash, 'push') end
  if not room.push then return true end
  local waiting = redis.pcall('LLEN', list)
  if type(waiting) == 'number' and waiting > 0 then redis.pcall('HINCRBY', room.push.state, 'done', waiting) end
  redis.call('DEL', list)
  redis.pcall('ZREM', room.push.delayed, list)
  redis.pcall('ZREM', room.push.oldest, list)
  return true
end
