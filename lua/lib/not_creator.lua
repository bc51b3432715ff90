-- not_creator(hash, session, token_hash) -> nil for the token that the room was made with; else the code that
-- refuses it. `session` is that of the token's user: others in the room are told that they may not.
local function not_creator(hash, session, token_hash)
  local facts = redis.call('HMGET', hash, 'createdAt', 'creatorToken')
  if not facts[1] then return 'ROOM_NOT_FOUND' end
  if facts[2] == token_hash then return nil end
  return redis.pcall('HGET', session, 'token') == token_hash and 'FORBIDDEN' or 'INVALID_TOKEN'
end

