-- pushes(list) -> what Web Push needs to know, by name; nil if the list is empty, which means that there is no push.
-- src/redis/scripts/push.rs writes the same order.
-- end_push(room, user) ends the subscription of a user, and deletes its waiting pushes. Returns whether there was a
-- subscription. Foreign values in these keys are not an error. room.push is the result of `pushes`.
-- keep_push(room, user, token_hash) ends the subscription if an earlier user of the name with another token had it.
-- Needs: author, room_key, user_key.
local PUSHES = {'ready', 'delayed', 'oldest', 'state', 'users', 'most', 'age_max'}
local function pushes(list)
  if #list == 0 then return nil end
  local named = {}
  for i, name in ipairs(PUSHES) do named[name] = list[i] end
  return named
end
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
local function keep_push(room, user, token_hash)
  local kept = redis.pcall('HGET', room_key(room.hash, 'push'), user)
  if type(kept) == 'string' and string.match(kept, '^%S+') ~= author(token_hash) then end_push(room, user) end
end
