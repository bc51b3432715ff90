-- slide_room(hash, stream, usual) renews the TTLs of the room and its other keys: to the lifetime that its creator
-- chose (s), else to `usual` (ms). An invalid choice is ignored.
-- lifetime(hash, usual) -> that time (ms), and whether the room has keys that most rooms do not have.
-- Needs: room_key.
local function lifetime(hash, usual)
  local chosen, order = unpack(redis.call('HMGET', hash, 'ttl', 'order'))
  local is_time = chosen and #chosen < 10 and string.find(chosen, '^[1-9]%d*$')
  return is_time and chosen .. '000' or usual, order
end
local function slide_room(hash, stream, usual)
  local lives, order = lifetime(hash, usual)
  redis.call('PEXPIRE', hash, lives)
  redis.call('PEXPIRE', stream, lives)
  redis.call('PEXPIRE', room_key(hash, 'users'), lives)
  if not order then return end
  redis.call('PEXPIRE', room_key(hash, 'deleted'), lives)
  redis.call('PEXPIRE', room_key(hash, 'removed'), lives)
  redis.call('PEXPIRE', room_key(hash, 'bans'), lives)
  redis.call('PEXPIRE', room_key(hash, 'subjects'), lives)
  redis.call('PEXPIRE', room_key(hash, 'push'), lives)
end

