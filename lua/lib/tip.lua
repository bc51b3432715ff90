-- tip(stream) -> the id of the last message kept, '0-0' where there is none.
local function tip(stream)
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  return last[1] and last[1][1] or '0-0'
end

