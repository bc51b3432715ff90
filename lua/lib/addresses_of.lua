-- addresses_of(session) -> the keyed addresses of a session, least recently used first, each with the time of its last
-- use. O(connections).
local function addresses_of(session)
  local found, fields = {}, redis.call('HGETALL', session)
  for i = 1, #fields, 2 do
    local keyed = string.match(fields[i], '^address:(.+)$')
    if keyed then found[#found + 1] = {keyed = keyed, at = tonumber(fields[i + 1]) or 0} end
  end
  table.sort(found, function(a, b) return a.at < b.at end)
  return found
end
