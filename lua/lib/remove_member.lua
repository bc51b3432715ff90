-- remove_member(room, user) removes a member and publishes user_left, except in a large room. The
-- session stays, so the name stays reserved. Needs: publish_change, user_key.
local function remove_member(room, user)
  local session = user_key(room, user, 'session')
  redis.call('ZREM', room.deadlines, user)
  redis.call('ZREM', room.names, user)
  redis.call('SREM', room.away, user)
  redis.call('DEL', user_key(room, user, 'presence'))
  -- If something else was written to the session's key, it has no such fields, and the room still
  -- works.
  for _, field in ipairs(redis.pcall('HKEYS', session)) do
    if field == 'away' or string.sub(field, 1, 5) == 'conn:' then redis.call('HDEL', session, field) end
  end
  if redis.call('SREM', room.members, user) == 1 then
    publish_change(room, 'user_left', '"userId":' .. cjson.encode(user))
    if room.hooks then
      -- Needs: hook_member.
      hook_member(room, user, false)
    end
    if redis.call('EXISTS', room.members) == 0 then
      room.occupied = '0'
      redis.call('HSET', room.hash, 'occupied', room.occupied)
    end
  end
end

