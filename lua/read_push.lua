-- Reads the data of a push right before it is sent: its destination, and the present text of the message.
-- KEYS 3: 1 room, 2 messages, 3 session of the user
-- DERIVED from KEYS 1: push
-- ARGV 2: 1 user, 2 message id
-- RETURNS {'OK', the subscription: prefix of the key that it was made with, p256dh, auth, URL, separated by spaces,
--         or '' if there is none, the author, the text, or '' if it is deleted, '1' if the room is encrypted else
--         '0', '1' if the user has read it else '0'}
-- PROMISE 11: a deleted text is sent to nobody.
-- Needs: is_newer, room_key.
local subscriptions, user, id = room_key(KEYS[1], 'push'), ARGV[1], ARGV[2]

local kept = redis.pcall('HGET', subscriptions, user)
local subscription = string.match(type(kept) == 'string' and kept or '', '^%S+ (.*)$') or ''
local entry, said = redis.pcall('XRANGE', KEYS[2], id, id)[1], {}
for i = 1, entry and #entry[2] or 0, 2 do said[entry[2][i]] = entry[2][i + 1] end
local read = redis.pcall('HGET', KEYS[3], 'read')
local is_read = type(read) == 'string' and not is_newer(id, read)
return {'OK', subscription, said.from or '', said.text or '', redis.pcall('HGET', KEYS[1], 'e2e') == '1' and '1' or '0',
  is_read and '1' or '0'}
