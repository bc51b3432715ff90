-- trim_deleted(hash, stream, oldest): if the stream was trimmed since the last check, deletes what
-- is left of deleted messages whose neighbours on both sides were trimmed. `oldest` is the first
-- entry of the stream at that check, '' for none; the room's hash stores it while there are deleted
-- messages. Needs: places, room_key.
local function trim_deleted(hash, stream, oldest)
  local deleted = room_key(hash, 'deleted')
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', '1')[1]
  if not first or first[1] == oldest then return end
  -- Nobody's message is kept back where something else has taken the place of what is left of others.
  if oldest ~= '' then redis.pcall('ZREMRANGEBYLEX', deleted, '-', '(' .. place_of(first[1])) end
  if redis.call('EXISTS', deleted) == 1 then
    redis.call('HSET', hash, 'oldest', first[1])
  else
    redis.call('HDEL', hash, 'oldest')
  end
end

