-- index_next_lapse(room) -> how long (ms) the members of a room are stored where there is a webhook: until a script has
-- cleared those who lapse, so that each of them is reported. Stores the first deadline; the nodes look for rooms
-- whose deadline has passed.
local function index_next_lapse(room)
  local to = room.hooks
  local first = redis.call('ZRANGE', room.deadlines, '0', '0', 'WITHSCORES')
  if first[2] then
    redis.pcall('ZADD', to.lapses, first[2], room.id)
    redis.pcall('PEXPIRE', to.lapses, to.age_max)
  else
    redis.pcall('ZREM', to.lapses, room.id)
  end
  return to.room_ttl
end
