-- clear_users(room) -> whether there are more. Deletes all that there is of some users of a room that is no more, and
-- their names; so many at a time that no call keeps Redis for long. Needs: end_push, note_user, room_key.
local CLEARED_AT_ONCE = 128

local function clear_users(room)
  local users, left = room_key(room.hash, 'users'), CLEARED_AT_ONCE
  for _, names in ipairs({users, room.members}) do
    local some = redis.pcall('SPOP', names, string.format('%d', left))
    if some.err then
      -- Something else has taken the place of the names.
      redis.call('UNLINK', names)
      some = {}
    end
    for _, user in ipairs(some) do
      end_push(room, user)
      forget_user(room, user)
    end
    if #some > 0 then redis.pcall('SREM', room.members, unpack(some)) end
    left = left - #some
  end
  if redis.call('EXISTS', users, room.members) > 0 then return true end
  redis.call('UNLINK', room_key(room.hash, 'push'))
  return false
end

