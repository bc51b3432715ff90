-- The addresses of users are stored as keyed hashes. The key is the room's secret, so the hashes of two rooms
-- differ. A session has one field for each address, with the time of its last use.
-- keyed_address(secret, address) -> that hash.
-- is_banned(hash, keyed) -> whether new users from this address are rejected. Needs: room_key.
local function keyed_address(secret, address)
  return string.sub(redis.sha1hex(secret .. ' address ' .. address), 1, 20)
end
local function is_banned(hash, keyed)
  return redis.call('ZSCORE', room_key(hash, 'bans'), keyed) ~= false
end
