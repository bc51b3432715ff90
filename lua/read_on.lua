-- Reads the messages of a room for a listener, who is not a member, page by page. After the last page a fence
-- goes to the node; what follows it is live.
-- KEYS 3: 1 room, 2 messages, 3 session of the token's user
-- DERIVED from KEYS 1: deleted, bans
-- ARGV 8: 1 roomId, 2 last message id seen, or '' for only what comes from now on, 3 messages wanted,
--         4 this node's channel, 5 the fence's tag, 6 proof or '', 7 address of the listener,
--         8 '1' if guests may listen else '0'
-- RETURNS {'OK', the room's secret, last message id, '1' if there are more messages else '0', '1' if some
--          between the one seen and the first of these are no longer stored else '0', messages oldest
--          first, as read_entries returns them, in MessagePack, and the ids of the messages up to
--          the one seen that were deleted, in MessagePack}, {'ROOM_NOT_FOUND'}, or
--          {'INVALID_TOKEN'} if listening needs a token
-- PUBLISHES a fence to the node, if there are no more messages
-- PROMISE 2: the fence separates what was read from what comes afterwards; missing messages are reported.
-- Needs: check_room, clock, deleted_messages, fence, follows, is_newer, last_generated_id, may_read,
-- read_entries, room_key, tip.
local room = {id = ARGV[1], hash = KEYS[1], messages = KEYS[2]}
local deleted = room_key(room.hash, 'deleted')
local since, wanted, node, tag = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]

local refusal = may_read(room.hash, KEYS[3], ARGV[6], ARGV[7], ARGV[8])
if refusal then return {refusal} end
local facts = redis.call('HMGET', room.hash, 'secret', 'last', 'events')
local secret, at = facts[1] or '', tip(room.messages, facts[2])
room.events = facts[3]
check_room(room, clock())

local found, gap = {}, false
if since ~= '' then
  local last_ever, first = last_generated_id(room.messages), '0-0'
  -- Not an id of this stream: Redis lost that message, or the client invented it.
  gap = is_newer(since, at) and is_newer(since, last_ever)
  if not gap then
    first = since
    gap = since ~= '0-0' and is_newer(last_ever, since)
  end
  -- Redis rejects a range that begins after the last possible id.
  if is_newer(last_ever, first) then
    found = read_entries(deleted, room.messages, 'XRANGE', '(' .. first, '+', wanted + 1)
  end
  if #found > 0 and first == since then
    local kept = read_entries(deleted, room.messages, 'XREVRANGE', since, '-', 1)
    -- The first message of a stream follows none: history began again, and nothing is missing.
    gap = since ~= '0-0' and #kept == 0 and not follows(secret, since, found[1][1])
      and not follows(secret, '0-0', found[1][1])
  end
end
local more = #found > wanted
if more then
  found[#found] = nil
else
  fence(room, node, tag, at)
end
return {'OK', secret, at, more and '1' or '0', gap and '1' or '0', cmsgpack.pack(found),
  cmsgpack.pack(deleted_up_to(room.hash, since))}
