-- has_connections(session) -> whether the session holds a connection, be it one that has lapsed.
local function has_connections(session)
  for _, field in ipairs(redis.call('HKEYS', session)) do
    if string.sub(field, 1, 5) == 'conn:' then return true end
  end
  return false
end

