-- begin_return(room, returning, presence_ttl) notes that the members of a room return, where they expired
-- with nobody told that they left: they come with their nodes' heartbeats, until about the next one.
-- `returning` is the key of that note.
local function begin_return(room, returning, presence_ttl)
  if room.occupied == '1' and redis.call('EXISTS', room.members) == 0 then
    redis.call('SET', returning, '1', 'PX', math.ceil(presence_ttl / 2))
  end
end

