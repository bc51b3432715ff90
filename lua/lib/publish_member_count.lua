-- publish_member_count(room, now_ms) publishes the number of members, which replaces publish_change in a large
-- room. A room becomes large with more than room.roster_max members, and stops being large with
-- fewer than three quarters of that, so that it does not switch back and forth. When it switches,
-- the list of members is published. Otherwise a large room gets the number if it changed, at most
-- once a second, and so seldom that it is no more than 2,500 writes a second: 10,000 members get it
-- every four seconds. A change that comes too soon is published by the next sweep. room.large is the
-- field of the room's hash. Every script that changes members calls it last. Returns whether the
-- list was published. O(1).
local TELL_EVERY, TOLD_PER_MS = 1000, 2.5

local function publish_member_count(room, now_ms)
  local count = redis.call('SCARD', room.members)
  if not room.large and count <= room.roster_max then return false end
  -- Needs: sweep_in, publish_event, publish_members.
  if not room.large then
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
  -- No longer than that, even if Redis's clock was set back.
  local pause = math.max(TELL_EVERY, math.floor(count / TOLD_PER_MS))
  if since >= 0 and since < pause then
    -- Meanwhile a join or a list may tell some clients the number. They need another update, even
    -- if the number returns to what was published last.
    redis.call('HDEL', room.hash, 'toldCount')
    sweep_in(room, pause - since)
    return false
  end
  redis.call('HSET', room.hash, 'toldCount', count, 'toldAt', string.format('%d', now_ms))
  publish_event(room, 'members', string.format('"memberCount":%d', count))
  return false
end

