-- note_creator(room, facts, user, token_hash): a user comes in. If it has the creator's name, the room notes whether
-- it has the creator's token too: the name alone may be another user's once the creator's session has ended.
-- Publishes room if that changed, and updates `facts`, which room_facts returned. Needs: publish_event, room_event,
-- room_facts.
local function note_creator(room, facts, user, token_hash)
  if user ~= facts[1] then return end
  local taken = token_hash == facts[4] and '' or '1'
  if taken == facts[10] then return end
  facts[10] = taken
  if taken == '' then
    redis.call('HDEL', room.hash, 'creatorNameTaken')
  else
    redis.call('HSET', room.hash, 'creatorNameTaken', taken)
  end
  publish_event(room, 'room', room_event(room.hash))
end
