-- tip(stream, noted) -> the id of the last message, '0-0' where there was none. `noted` is what the
-- room's hash has as that, or false. Anybody may add to a stream, so it counts as long as the stream
-- holds nothing newer: asking that costs little, and reading the last message grows with its text.
local function tip(stream, noted)
  -- An error where what is noted is beyond all ids.
  local is_id = noted and string.find(noted, '^%d+%-%d+$')
  if is_id and redis.pcall('XREAD', 'COUNT', '1', 'STREAMS', stream, noted) == false then return noted end
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', '1')
  return last[1] and last[1][1] or '0-0'
end

