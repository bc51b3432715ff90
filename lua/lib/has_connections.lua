-- has_connections(session) -> whether the session has a connection, even a lapsed one. If something
-- else was written to the session's key, it has none.
local function has_connections(session)
  for _, field in ipairs(redis.pcall('HKEYS', session)) do
    if string.sub(field, 1, 5) == 'conn:' then return true end
  end
  return false
end

