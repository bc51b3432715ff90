-- are_names_whole(room) -> whether the sorted names are as many as the members. They are not if a
-- script of an older version, or another program, changed only the set.
local function are_names_whole(room)
  return redis.call('ZCARD', room.names) == redis.call('SCARD', room.members)
end

