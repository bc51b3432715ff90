-- Reads what a node missed of a room: the messages after the last one it delivered, and whose sessions were ended.
-- KEYS 2: 1 room, 2 messages
-- DERIVED from KEYS 1: deleted, removed
-- ARGV 4: 1 last message id delivered, 2 messages wanted at most, 3 roomId, 4 number of events of which the node
--         knows that it missed none
-- RETURNS {'OK', '1' if messages in between are no longer kept else '0', messages oldest first, as
--          read_entries gives them, in MessagePack, a list of frames: removed for each session that was ended since}
-- PROMISE 2: a message that the subscription lost is found in the stream. PROMISE 11: who was removed meanwhile
-- does not get it.
-- Needs: follows, is_newer, last_generated_id, read_entries, removal, room_key.
local room, messages, after, wanted = {hash = KEYS[1], id = ARGV[3]}, KEYS[2], ARGV[1], ARGV[2]
local deleted = room_key(room.hash, 'deleted')

local found = read_entries(deleted, messages, 'XRANGE', '(' .. after, '+', wanted)
local trimmed = #found == 0 and is_newer(last_generated_id(messages), after)
local secret = redis.call('HGET', room.hash, 'secret') or ''
if #found > 0 then
  local kept = read_entries(deleted, messages, 'XREVRANGE', after, '-', 1)
  local first = found[1][1]
  -- A stream's very first message follows nothing: history began anew, none is missing.
  trimmed = #kept == 0 and not follows(secret, after, first) and not follows(secret, '0-0', first)
end
return {'OK', trimmed and '1' or '0', cmsgpack.pack(found), removed_since(room, secret, ARGV[4])}
