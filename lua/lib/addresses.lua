-- The addresses of users are stored as keyed hashes. The key is the room's secret, so the hashes of two rooms
-- differ. A session has one field for each address, with the time of its last use, and at most MOST_ADDRESSES.
-- keyed_address(secret, address) -> that hash. note_address(session, keyed, now) stores it with the session.
-- is_banned(hash, keyed) -> whether new users from this address are rejected. Needs: room_key.
local MOST_ADDRESSES = 16
local function keyed_address(secret, address)
  return string.sub(redis.sha1hex(secret .. ' address ' .. address), 1, 20)
end
local function addresses_of(session)
  local found, fields = {}, redis.call('HGETALL', session)
  for i = 1, #fields, 2 do
    local keyed = string.match(fields[i], '^address:(.+)$')
    if keyed then found[#found + 1] = {keyed = keyed, at = tonumber(fields[i + 1]) or 0} end
  end
  table.sort(found, function(a, b) return a.at < b.at end)
  return found
end
local function note_address(session, keyed, now)
  if redis.call('HSET', session, 'address:' .. keyed, now) == 0 then return end
  local known = addresses_of(session)
  for i = 1, #known - MOST_ADDRESSES do redis.call('HDEL', session, 'address:' .. known[i].keyed) end
end
local function is_banned(hash, keyed)
  return redis.call('ZSCORE', room_key(hash, 'bans'), keyed) ~= false
end

