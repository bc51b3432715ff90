-- publish(channel, payload) tells the subscribers of a channel. On Redis Cluster, where a group stands in braces after
-- the first word of a name, channels are sharded: a publication stays in the shard of its room.
local function publish(channel, payload)
  -- The sixth character of "chan:{" and "node:{".
  return redis.pcall(string.byte(channel, 6) == 123 and 'SPUBLISH' or 'PUBLISH', channel, payload)
end

