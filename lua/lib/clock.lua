-- clock() -> milliseconds since 1970 by Redis's own clock, the only clock that counts, as decimal text.
-- The text is cut out of Redis's answer, because Lua formats large numbers slowly.
local function clock()
  local time = redis.call('TIME')
  return time[1] .. string.sub('00000' .. time[2], -6, -4)
end

