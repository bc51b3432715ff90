-- slide_room(hash, stream, usual): the room and what belongs to it live for as long again without a sign of life:
-- what its creator chose (s), else as long as usual (ms). Where something else stands in place of the choice, it
-- counts for nothing. lifetime(hash, usual) -> that time (ms), and whether there is more than rooms usually have.
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

