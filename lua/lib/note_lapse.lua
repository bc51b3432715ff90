-- note_lapse(room, ttl) -> for how long (ms) the members of a room are kept, which `ttl` is, unless there is a
-- webhook: then until somebody has cleared those who lapse, so that it is told of each. Notes when the first
-- of them does; the nodes look for rooms whose moment has come.
local function note_lapse(room, ttl)
  local to = room.hooks
  if not to then return ttl end
  local first = redis.call('ZRANGE', room.deadlines, '0', '0', 'WITHSCORES')
  if first[2] then
    redis.pcall('ZADD', to.lapses, first[2], room.id)
    redis.pcall('PEXPIRE', to.lapses, to.age_max)
  else
    redis.pcall('ZREM', to.lapses, room.id)
  end
  return to.room_ttl
end
