-- are_names_whole(room) -> whether as many members are sorted by name as there are. Not where a script of an
-- older version, or somebody else, changed only the set.
local function are_names_whole(room)
  return redis.call('ZCARD', room.names) == redis.call('SCARD', room.members)
end

