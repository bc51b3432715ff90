-- pushes(lines) -> what Web Push needs to know, by name; nil if there are no lines, which means that there is no push.
-- src/redis/scripts/push.rs writes the same order.
local function pushes(lines)
  if lines == '' then return nil end
  local named = {}
  local line = string.gmatch(lines, '[^\n]+')
  for _, name in ipairs({'ready', 'delayed', 'oldest', 'state', 'users', 'most', 'age_max'}) do named[name] = line() end
  return named
end
