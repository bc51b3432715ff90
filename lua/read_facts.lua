-- Reads the facts of a room. O(1), independent of its number of members.
-- KEYS 2: 1 room, 2 the note that it was closed
-- ARGV 0
-- RETURNS {'OK', then in the order of room_facts: creator, createdAt (ms), the room's secret, hash of the creator's
--          token, '1' if encrypted, topic, '1' if locked, ttl (s), maximum number of members, '1' if another user has the
--          creator's name; '' for missing ones}, {'ROOM_NOT_FOUND'}, or {'ROOM_CLOSED'} if its creator has deleted it
-- PROMISE 5: a node restores a room with the facts that it has read.
-- Needs: room_facts.
local facts = room_facts(KEYS[1])
if not facts then return {redis.call('EXISTS', KEYS[2]) == 1 and 'ROOM_CLOSED' or 'ROOM_NOT_FOUND'} end

return {'OK', unpack(facts)}
