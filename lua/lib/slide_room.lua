-- slide_room(hash, stream, usual, now_ms) renews the TTLs of the room and its other keys: to the lifetime that its
-- creator chose (s), else to `usual` (ms). An invalid choice is ignored. Notes in the field `slideAt` when this is to
-- be done again: after a hundredth of that time, so that it need not be done with every message.
-- lifetime(hash, usual) -> that time (ms), and whether the room has keys that most rooms do not have.
-- Needs: room_key.
local function lifetime(hash, usual)
  local chosen, order = unpack(redis.call('HMGET', hash, 'ttl', 'order'))
  local is_time = chosen and #chosen < 10 and string.find(chosen, '^[1-9]%d*$')
  return is_time and chosen .. '000' or usual, order
end
local function slide_room(hash, stream, usual, now_ms)
  local lives, order = lifetime(hash, usual)
  local again = math.min(tonumber(lives), tonumber(usual)) / 100
  redis.call('HSET', hash, 'slideAt', (order and '+' or '') .. string.format('%d', now_ms + again))
  redis.call('PEXPIRE', hash, lives)
  redis.call('PEXPIRE', stream, lives)
  redis.call('PEXPIRE', room_key(hash, 'users'), lives)
  if not order then return end
  for _, what in ipairs({'deleted', 'removed', 'bans', 'subjects', 'push'}) do
    redis.call('PEXPIRE', room_key(hash, what), lives)
  end
end
