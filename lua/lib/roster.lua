-- roster(room) -> the members and those of them that are away, both as JSON arrays, in no order, and
-- the number of members.
-- O(members), unless nothing happened in the room since somebody asked: whatever changes the answer
-- is announced, so it is kept together with room.events and the number of members, and is right as
-- long as these are. Needs: away, json_list.
local function roster(room)
  local events, count = room.events or '0', string.format('%d', redis.call('SCARD', room.members))
  local kept = redis.call('HMGET', room.roster, 'events', 'count', 'members', 'away')
  if kept[1] == events and kept[2] == count then return kept[3], kept[4], count end

  local members, gone = redis.call('SMEMBERS', room.members), {}
  for user in pairs(away(room, members)) do gone[#gone + 1] = user end
  local all, some = json_list(members), json_list(gone)
  if room.presence_ttl then
    redis.call('HSET', room.roster, 'events', events, 'count', count, 'members', all, 'away', some)
    redis.call('PEXPIRE', room.roster, room.presence_ttl)
  end
  return all, some, count
end

