-- may_read(hash, session, proof, address, has_guests) -> nil for whoever may read what is said in a room and who is in
-- it, else the code that refuses it: in a locked room, and from an address that is banned, that takes the token of a
-- live session or of the room's creator; where there are no guests (`has_guests` is '0'), it takes at least a JWT;
-- and when the room was made (ms). `session` is that of the token's user. Needs: addresses, proof.
local function may_read(hash, session, proof, address, has_guests)
  local token_hash, is_creator = read_proof(proof)
  local facts = redis.call('HMGET', hash, 'createdAt', 'locked', 'creatorToken', 'secret')
  if not facts[1] then return 'ROOM_NOT_FOUND' end
  local is_open = facts[2] ~= '1' and not is_banned(hash, keyed_address(facts[4] or '', address))
  if is_open and (has_guests ~= '0' or is_subject(token_hash)) then return nil, facts[1] end
  if token_hash ~= '' then
    if is_creator or token_hash == facts[3] or redis.pcall('HGET', session, 'token') == token_hash then return nil, facts[1] end
  end
  return 'INVALID_TOKEN'
end

