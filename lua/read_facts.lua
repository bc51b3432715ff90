-- Reads what a room is. O(1), however many are in it.
-- KEYS 1: 1 room
-- ARGV 0
-- RETURNS {'OK', then as room_facts lists them creator, createdAt (ms), the room's secret, hash of the creator's
--          token, '1' if encrypted, topic, '1' if locked, ttl (s), members it may have; '' for what it has
--          not} or {'ROOM_NOT_FOUND'}
-- PROMISE 5: what a node knows of a room is what it restores.
local facts = room_facts(KEYS[1])
if not facts then return {'ROOM_NOT_FOUND'} end

return {'OK', unpack(facts)}
