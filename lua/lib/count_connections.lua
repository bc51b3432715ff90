-- count_connections(session, now_ms) -> how many connections of a user have not lapsed. O(connections).
local function count_connections(session, now_ms)
  local live, fields = 0, redis.call('HGETALL', session)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 5) == 'conn:' then
      local lapses = tonumber(string.match(fields[i + 1], '^%d+'))
      if lapses and lapses > now_ms then live = live + 1 end
    end
  end
  return live
end

