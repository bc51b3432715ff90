-- room_key(hash, what) -> the key of what a room has besides: its messages that were 'deleted', users that were
-- 'removed', 'bans', 'subjects', its 'users', their subscriptions to 'push', its 'deadlines' and who is 'away'. `hash` is
-- the room's own key; src/redis/keys.rs writes the same.
local function room_key(hash, what)
  return hash .. ':' .. what
end

