-- hooks(list) -> what webhooks need to know of a room, by name; nil if the list is empty, which
-- means that there is no webhook. src/redis/scripts/hooks.rs writes the same order.
local function hooks(list)
  if #list == 0 then return nil end
  local named = {}
  for i, name in ipairs({'events', 'absent', 'ready', 'oldest', 'state', 'dead', 'lapses', 'users', 'types', 'most',
    'age_max', 'session_ttl', 'room_ttl', 'most_members', 'roster_max'}) do named[name] = list[i] end
  return named
end
