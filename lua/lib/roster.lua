-- roster(room) -> the members and the away ones, both as JSON arrays in no order, and the number of
-- members. O(members), or O(1) from the cache: every change publishes an event, so a cached answer is
-- valid as long as room.events and the number of members are the same. Needs: away_members, json_list.
local function roster(room)
  local events, count = room.events or '0', string.format('%d', redis.call('SCARD', room.members))
  local kept = redis.call('HMGET', room.roster, 'events', 'count', 'members', 'away')
  if kept[1] == events and kept[2] == count and kept[3] and kept[4] then return kept[3], kept[4], count end

  local members, away = redis.call('SMEMBERS', room.members), {}
  for user in pairs(away_members(room, members)) do away[#away + 1] = user end
  local members_json, away_json = json_list(members), json_list(away)
  if room.presence_ttl then
    redis.call('HSET', room.roster, 'events', events, 'count', count, 'members', members_json, 'away', away_json)
    redis.call('PEXPIRE', room.roster, room.presence_ttl)
  end
  return members_json, away_json, count
end

