-- not_creator(hash, session, token_hash) -> nil for the creator's token, else the error code. `session` is
-- that of the token's user: a valid token of another user gets FORBIDDEN.
local function not_creator(hash, session, token_hash)
  local facts = redis.call('HMGET', hash, 'createdAt', 'creatorToken')
  if not facts[1] then return 'ROOM_NOT_FOUND' end
  if facts[2] == token_hash then return nil end
  return redis.pcall('HGET', session, 'token') == token_hash and 'FORBIDDEN' or 'INVALID_TOKEN'
end

