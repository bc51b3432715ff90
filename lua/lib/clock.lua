-- clock() -> milliseconds since 1970 by Redis's clock, the only clock that scripts use, as decimal
-- text. The text is cut from Redis's answer, because Lua formats large numbers slowly.
local function clock()
  local time = redis.call('TIME')
  return time[1] .. string.sub('00000' .. time[2], -6, -4)
end

