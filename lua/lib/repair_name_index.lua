-- repair_name_index(room, count) rebuilds the sorted names of the members, which are `count`, if they are incomplete. Needs:
-- is_name_index_complete.
local function repair_name_index(room, count)
  if is_name_index_complete(room, count) then return end
  if redis.call('ZUNIONSTORE', room.names, '1', room.members, 'WEIGHTS', '0') > 0 then
    redis.call('PEXPIRE', room.names, math.max(redis.call('PTTL', room.members), 1))
  end
end

