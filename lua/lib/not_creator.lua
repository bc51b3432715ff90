-- not_creator(hash, session, proof) -> nil if the token has the creator's powers, else the error
-- code; and the hash of the token. `session` is that of the token's user: a valid token of another
-- user gets FORBIDDEN. Needs: proof.
local function not_creator(hash, session, proof)
  local token_hash, is_creator = read_proof(proof)
  local facts = redis.call('HMGET', hash, 'createdAt', 'creatorToken')
  if not facts[1] then return 'ROOM_NOT_FOUND', token_hash end
  if is_creator or facts[2] == token_hash then return nil, token_hash end
  return redis.pcall('HGET', session, 'token') == token_hash and 'FORBIDDEN' or 'INVALID_TOKEN', token_hash
end

