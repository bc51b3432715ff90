-- clock() -> microseconds since 1970 by Redis's own clock, the only clock that counts.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

