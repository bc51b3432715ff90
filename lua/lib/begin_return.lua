-- begin_return(room, returning, presence_ttl): if all members expired and no user_left was published, sets
-- the key `returning`. Until about the next heartbeat, users who come back get no user_joined.
local function begin_return(room, returning, presence_ttl)
  if room.occupied == '1' and redis.call('EXISTS', room.members) == 0 then
    redis.call('SET', returning, '1', 'PX', math.ceil(presence_ttl / 2))
  end
end

