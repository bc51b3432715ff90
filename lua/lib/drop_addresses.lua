-- drop_addresses(session): of the addresses of a session that was given a new one, only those used last are kept.
-- Needs: addresses_of.
local MOST_ADDRESSES = 16

local function drop_addresses(session)
  local known = addresses_of(session)
  for i = 1, #known - MOST_ADDRESSES do redis.call('HDEL', session, 'address:' .. known[i].keyed) end
end
