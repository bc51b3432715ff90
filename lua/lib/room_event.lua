-- room_event(hash) -> the JSON of a room frame after the room's id.
local function room_event(hash)
  local facts = redis.call('HMGET', hash, 'locked', 'topic', 'creatorNameTaken')
  local topic = facts[2] and facts[2] ~= '' and cjson.encode(facts[2]) or 'null'
  return '"locked":' .. (facts[1] == '1' and 'true' or 'false') .. ',"topic":' .. topic
    .. (facts[3] == '1' and ',"creatorNameTaken":true' or '')
end

