-- room_facts(hash) -> what a room is, by its hash: texts in the order of FACTS, '' for what it has not; nil
-- where there is no room. src/redis/scripts/wire.rs reads and writes the same order.
local FACTS = {'creator', 'createdAt', 'secret', 'creatorToken', 'e2e', 'topic', 'locked', 'ttl', 'maxMembers'}
local function room_facts(hash)
  local facts = redis.call('HMGET', hash, unpack(FACTS))
  if not facts[2] then return nil end
  for i = 1, #FACTS do facts[i] = facts[i] or '' end
  return facts
end

