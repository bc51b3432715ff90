-- Deletes what somebody said, as its author or the room's creator says. The message keeps its place and its
-- sender, and has no text any more.
-- KEYS 3: 1 room, 2 messages, 3 session of the user whom the token names
-- DERIVED from KEYS 1: deleted; from ARGV 3: what the author sent with keys
-- ARGV 7: 1 roomId, 2 the room's channel, 3 stem of the users' keys, 4 message id, 5 proof, 6 messages
--         kept (about), and deleted ones at most, 7 a list: what webhooks need, as hooks names it
-- RETURNS {'OK', who said it, where redact_event goes on, or '' where nothing is left to do}, {'ROOM_NOT_FOUND'},
--         {'NOT_FOUND'}, {'FORBIDDEN'} for somebody else in the room, or {'INVALID_TOKEN'}
-- PUBLISHES deleted, where it was not before
-- PROMISE 2: order, ids and cursors stay as they are. PROMISE 3: a retry of it is answered with it, and not
-- stored again. PROMISE 8: the author is the session that said it, not who has the name later.
-- PROMISE 11: the text is gone from Redis with the answer. Whoever began to remove it may have died: deleting again
-- goes on.
-- Needs: author, check_hooks, check_room, clock, hook, hooks, last_as_long, not_creator, publish_event,
-- places, redact_event, room_key, trim_deleted, user_key.
local room = {hash = KEYS[1], messages = KEYS[2], id = ARGV[1], chan = ARGV[2], users = ARGV[3],
  hooks = hooks(ARGV[7])}
local session, id, kept = KEYS[3], ARGV[4], tonumber(ARGV[6])
local deleted = room_key(room.hash, 'deleted')

local refusal, token_hash = not_creator(room.hash, session, ARGV[5])
if refusal and refusal ~= 'FORBIDDEN' then return {refusal} end

local gone, said = find_deleted(deleted, id), {by = ''}
local entry = redis.call('XRANGE', room.messages, id, id)[1]
if not gone and not entry then return {'NOT_FOUND'} end
for i = 1, entry and #entry[2] or 0, 2 do said[entry[2][i]] = entry[2][i + 1] end
if refusal and (gone or said).by ~= author(token_hash) then return {refusal} end
if room.hooks then check_hooks(room.hooks) end
if gone then
  return {'OK', gone.from, room.hooks and redact_event(room, room.hooks, id, gone.from, '') or ''}
end
check_room(room, clock(), {'deleted'})
local oldest = redis.call('HGET', room.hash, 'oldest')
if oldest then trim_deleted(room.hash, room.messages, oldest) end

redis.call('XDEL', room.messages, id)
publish_event(room, 'deleted', '"id":"' .. id .. '"')
local left = ''
if room.hooks then
  left = redact_event(room, room.hooks, id, said.from or '', '')
  hook(room, 'message.deleted', '{"roomId":"' .. room.id .. '","id":"' .. id .. '"}')
end
local by = string.gsub(said.by, '%s', '')
redis.call('ZADD', deleted, '0', place_of(id) .. ' ' .. room.events .. ' ' .. by .. ' ' .. (said.from or ''))
last_as_long(room.hash, deleted)
if said.key then
  local keys = user_key(room, said.from or '', 'keys')
  for _, hash in ipairs({keys, keys .. ':old'}) do
    if redis.pcall('HGET', hash, said.key) == id then redis.call('HSET', hash, said.key, id .. ' deleted') end
  end
end

-- If more messages were deleted than are stored, the history begins after the oldest deleted one.
local over = redis.call('ZCARD', deleted) - kept
if over > 0 then
  local dropped = redis.call('ZRANGE', deleted, '0', string.format('%d', over - 1))
  redis.call('ZREMRANGEBYRANK', deleted, '0', string.format('%d', over - 1))
  local last = read_place(dropped[#dropped])
  if last then redis.call('XTRIM', room.messages, 'MINID', last.id) end
end
local first = redis.call('XRANGE', room.messages, '-', '+', 'COUNT', '1')[1]
redis.call('HSET', room.hash, 'oldest', first and first[1] or '')
return {'OK', said.from or '', left}
