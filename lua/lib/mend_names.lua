-- mend_names(room, count) rebuilds the sorted names of the members, which are `count`, if they are incomplete. Needs:
-- are_names_whole.
local function mend_names(room, count)
  if are_names_whole(room, count) then return end
  if redis.call('ZUNIONSTORE', room.names, '1', room.members, 'WEIGHTS', '0') > 0 then
    redis.call('PEXPIRE', room.names, math.max(redis.call('PTTL', room.members), 1))
  end
end

