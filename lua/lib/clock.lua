-- clock() -> milliseconds since 1970 by Redis's own clock, the only clock that counts, as decimal text:
-- cut out of what Redis says, since Lua is slow at writing large numbers.
local function clock()
  local time = redis.call('TIME')
  return time[1] .. string.sub('00000' .. time[2], -6, -4)
end

