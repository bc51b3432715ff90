-- user_key(room, user, what) -> the key of a user's 'session' or 'presence'. Colons and percent signs
-- of the name are percent-encoded, so that no name makes one key mean two things; src/redis/keys.rs
-- writes the same.
local function user_key(room, user, what)
  if not string.find(user, '[:%%]') then return room.users .. user .. ':' .. what end
  local name = string.gsub(user, '[:%%]', {[':'] = '%3A', ['%'] = '%25'})
  return room.users .. name .. ':' .. what
end

