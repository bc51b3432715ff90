-- trim_deleted(hash, stream, oldest): where the stream was trimmed since, what is left of deleted messages goes
-- with what was before and behind them. `oldest` is the first entry of the stream when that was looked at last,
-- '' for none, as the room's hash has it while there are deleted messages. Needs: read_entries, room_key.
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

