-- depart(room, user) makes a member one no more and says so. The session stays: the name is kept.
-- Needs: announce.
local function depart(room, user)
  local session = room.users .. user .. ':session'
  redis.call('ZREM', room.deadlines, user)
  redis.call('DEL', room.users .. user .. ':presence')
  for _, field in ipairs(redis.call('HKEYS', session)) do
    if field == 'away' or string.sub(field, 1, 5) == 'conn:' then redis.call('HDEL', session, field) end
  end
  if redis.call('SREM', room.members, user) == 1 then
    announce(room, 'user_left', '"userId":' .. cjson.encode(user))
    if redis.call('EXISTS', room.members) == 0 then
      room.occupied = '0'
      redis.call('HSET', room.hash, 'occupied', room.occupied)
    end
  end
end

