-- is_name_index_complete(room, count) -> whether the sorted names are as many as the members, which are `count`. They are not if a
-- script of an older version, or another program, changed only the set.
local function is_name_index_complete(room, count)
  return redis.call('ZCARD', room.names) == count
end

