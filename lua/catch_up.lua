-- Reads what a node missed of a room: the messages after the last one it delivered.
-- KEYS 2: 1 room, 2 messages
-- DERIVED from KEYS 1: deleted
-- ARGV 2: 1 last message id delivered, 2 messages wanted at most
-- RETURNS {'OK', '1' if messages in between are no longer kept else '0', messages oldest first, as
--          read_entries gives them, in MessagePack}
-- PROMISE 2: a message that the subscription lost is found in the stream.
local room, messages, after, wanted = KEYS[1], KEYS[2], ARGV[1], ARGV[2]

local found = read_entries(room, messages, 'XRANGE', '(' .. after, '+', wanted)
local trimmed = #found == 0 and is_newer(last_generated_id(messages), after)
if #found > 0 then
  local kept = read_entries(room, messages, 'XREVRANGE', after, '-', 1)
  local first = found[1][1]
  -- A stream's very first message follows nothing: history began anew, none is missing.
  local secret = redis.call('HGET', room, 'secret') or ''
  trimmed = #kept == 0 and not follows(secret, after, first) and not follows(secret, '0-0', first)
end
return {'OK', trimmed and '1' or '0', cmsgpack.pack(found)}
