-- room_facts(hash) -> the facts of a room: texts in the order of FACTS, '' for missing ones; nil if
-- there is no room. src/redis/scripts/wire.rs reads and writes the same order.
local FACTS = {'creator', 'createdAt', 'secret', 'creatorToken', 'e2e', 'topic', 'locked', 'ttl', 'maxMembers',
  'creatorNameTaken'}
local function room_facts(hash)
  local facts = redis.call('HMGET', hash, unpack(FACTS))
  if not facts[2] then return nil end
  for i = 1, #FACTS do facts[i] = facts[i] or '' end
  return facts
end

