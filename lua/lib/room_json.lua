-- room_json(room) -> a room as GET returns it, for the webhook: with its first members by name, and
-- their number. Needs: clock, timestamp, json_list, room_facts, member_names, without_lapsed.
local function room_json(room)
  local facts, to, now = room_facts(room.hash), room.hooks, clock()
  local count = redis.call('ZCOUNT', room.deadlines, '(' .. now, '+inf')
  local members = without_lapsed(room, member_names(room, '', to.roster_max), tonumber(now))
  local most = tonumber(to.most_members)
  local ttl = tonumber(facts[8]) or to.room_ttl / 1000
  return '{"roomId":"' .. room.id .. '","status":"' .. (count > 0 and 'active' or 'idle')
    .. '","memberCount":' .. count .. ',"members":' .. json_list(members)
    .. ',"creator":' .. cjson.encode(facts[1])
    .. ',"createdAt":"' .. (tonumber(facts[2]) and timestamp(facts[2]) or '')
    .. string.format('","ttl":%d,"maxMembers":%d', ttl, math.min(tonumber(facts[9]) or most, most))
    .. ',"locked":' .. (facts[7] == '1' and 'true' or 'false')
    .. ',"topic":' .. (facts[6] ~= '' and cjson.encode(facts[6]) or 'null')
    .. (facts[10] == '1' and ',"creatorNameTaken":true' or '')
    .. (facts[5] == '1' and ',"e2e":true}' or '}')
end
