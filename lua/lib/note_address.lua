-- note_address(session, keyed, now) stores a keyed address with a session. Needs: drop_addresses.
local function note_address(session, keyed, now)
  if redis.call('HSET', session, 'address:' .. keyed, now) == 1 then drop_addresses(session) end
end
