-- may_read(hash, session, token_hash, address) -> nil for whoever may read what is said in a room and who is in it,
-- else the code that refuses it: in a locked room, and from an address that is banned, that takes the token of a
-- live session or of the room's creator. `session` is that of the token's user. Needs: addresses.
local function may_read(hash, session, token_hash, address)
  local facts = redis.call('HMGET', hash, 'createdAt', 'locked', 'creatorToken', 'secret')
  if not facts[1] then return 'ROOM_NOT_FOUND' end
  if facts[2] ~= '1' and not is_banned(hash, keyed_address(facts[4] or '', address)) then return nil end
  if token_hash ~= '' then
    if token_hash == facts[3] or redis.pcall('HGET', session, 'token') == token_hash then return nil end
  end
  return 'INVALID_TOKEN'
end

