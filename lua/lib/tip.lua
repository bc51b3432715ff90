-- tip(stream, noted) -> the id of the last message, '0-0' if there is none. `noted` is the last id
-- in the room's hash, or false. Other programs may add to a stream, so it counts only while the
-- stream has nothing newer: checking that is cheap, while the cost of reading the last message
-- grows with its text.
local function tip(stream, noted)
  -- XREAD returns an error if the noted id is beyond all possible ids.
  local is_id = noted and string.find(noted, '^%d+%-%d+$')
  if is_id and redis.pcall('XREAD', 'COUNT', '1', 'STREAMS', stream, noted) == false then return noted end
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', '1')
  return last[1] and last[1][1] or '0-0'
end

