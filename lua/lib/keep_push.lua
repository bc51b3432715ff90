-- keep_push(room, user, token_hash) ends the subscription of a user if an earlier user of the name with another token
-- had it. Needs: author, end_push, room_key.
local function keep_push(room, user, token_hash)
  local kept = redis.pcall('HGET', room_key(room.hash, 'push'), user)
  if type(kept) == 'string' and string.match(kept, '^%S+') ~= author(token_hash) then end_push(room, user) end
end
