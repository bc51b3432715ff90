-- room_json(room) -> a room as GET shows it, for the webhook. O(members).
-- Needs: clock, timestamp, json_list, room_facts.
local function room_json(room)
  local facts, to = room_facts(room.hash), room.hooks
  local members = redis.call('ZRANGEBYSCORE', room.deadlines, '(' .. clock(), '+inf')
  table.sort(members)
  local most = tonumber(to.most_members)
  local ttl = tonumber(facts[8]) or to.room_ttl / 1000
  return '{"roomId":"' .. room.id .. '","status":"' .. (#members > 0 and 'active' or 'idle')
    .. '","memberCount":' .. #members .. ',"members":' .. json_list(members)
    .. ',"creator":' .. cjson.encode(facts[1])
    .. ',"createdAt":"' .. (tonumber(facts[2]) and timestamp(facts[2]) or '')
    .. string.format('","ttl":%d,"maxMembers":%d', ttl, math.min(tonumber(facts[9]) or most, most))
    .. ',"locked":' .. (facts[7] == '1' and 'true' or 'false')
    .. ',"topic":' .. (facts[6] ~= '' and cjson.encode(facts[6]) or 'null')
    .. (facts[5] == '1' and ',"e2e":true}' or '}')
end
