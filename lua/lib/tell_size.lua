-- tell_size(room, now_ms) tells of how many are in the room what publish_change does not. A room is large from
-- more than room.roster_max members on until it has fewer than three quarters of that, so that it does not change
-- back and forth: when it changes, everybody is told the list of members. Else a large room is told the number,
-- where that is news, at most once a second; what is news too soon is told by the next sweep. room.large is the
-- field of the room's hash. To be called last by every script that changes members. Returns whether everybody was
-- told the list. O(1).
-- Needs: look_again, publish_event, publish_members.
local TELL_EVERY = 1000

local function tell_size(room, now_ms)
  local count = redis.call('SCARD', room.members)
  if not room.large then
    if count <= room.roster_max then return false end
    redis.call('HSET', room.hash, 'large', '1', 'toldCount', count)
    room.large = '1'
    publish_members(room)
    return true
  end
  if count * 4 < room.roster_max * 3 then
    redis.call('HDEL', room.hash, 'large', 'toldCount', 'toldAt')
    room.large = false
    publish_members(room)
    return true
  end
  local told = redis.call('HMGET', room.hash, 'toldCount', 'toldAt')
  if told[1] == string.format('%d', count) then return false end
  local since = now_ms - (tonumber(told[2]) or 0)
  -- Not for longer, where Redis's clock was set back.
  if since >= 0 and since < TELL_EVERY then
    -- A join and a list tell some of them the number meanwhile: they are to hear of it when it is as before again.
    redis.call('HDEL', room.hash, 'toldCount')
    look_again(room, TELL_EVERY - since)
    return false
  end
  redis.call('HSET', room.hash, 'toldCount', count, 'toldAt', string.format('%d', now_ms))
  publish_event(room, 'members', string.format('"memberCount":%d', count))
  return false
end

