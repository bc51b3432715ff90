-- has_connections(session) -> whether the session holds a connection, be it one that has lapsed. Where
-- something else has taken the place of the session, it holds none.
local function has_connections(session)
  for _, field in ipairs(redis.pcall('HKEYS', session)) do
    if string.sub(field, 1, 5) == 'conn:' then return true end
  end
  return false
end

