-- Stores a message, then tells the room: one call, however many members.
-- KEYS 5: 1 room, 2 messages, 3 user's session, 4 user's rate, 5 user's idempotency key, left out
--         where the sender gave none
-- ARGV 13: 1 roomId, 2 the room's channel, 3 user, 4 the session's field that admits the sender:
--          'token', or 'conn:' and a connection id, 5 the token hash that the field must hold, or
--          '' where its presence is enough, 6 text, 7 idempotency key or '', 8 messages a second a
--          user may send, 9 messages kept (about), 10 room TTL (ms), 11 session TTL (ms),
--          12 idempotency TTL (ms), 13 '1' to leave telling the room to the caller, who waits until
--          the message is kept, else '0'
-- RETURNS {'OK', id}, {'REPEAT', id, text} for a key that was used, or where the caller tells the
--         room one of these with text and msg frame, {'OK' or 'REPEAT', id, text, frame};
--         {'ROOM_NOT_FOUND'}, {'INVALID_TOKEN'}, {'NOT_IN_ROOM'} or {'RATE_LIMITED', wait (ms)}
-- PUBLISHES msg
-- PROMISE 1: it is in the stream before anybody is told. PROMISE 3: a retry is not a repeat.
-- PROMISE 9: the rate is the user's, over all its connections and nodes.
local room, messages, session, rate, idempotency = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, chan, user, field, token_hash = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local text, key, per_second, kept = ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local room_ttl, session_ttl, idempotency_ttl, held = ARGV[10], ARGV[11], ARGV[12], ARGV[13] == '1'
local now_ms = math.floor(clock() / 1000)

local function frame(message_id, text)
  local ms = tonumber(string.match(message_id, '^(%d+)'))
  local tail = key == '' and '}' or ',"key":' .. cjson.encode(key) .. '}'
  return '{"t":"msg","roomId":"' .. id .. '","id":"' .. message_id .. '","from":' ..
    cjson.encode(user) .. ',"text":' .. cjson.encode(text) ..
    ',"timestamp":"' .. timestamp(ms) .. '"' .. tail
end

local facts = redis.call('HMGET', room, 'createdAt', 'secret')
if not facts[1] then return {'ROOM_NOT_FOUND'} end
local admits = redis.call('HGET', session, field)
if token_hash ~= '' and admits ~= token_hash then return {'INVALID_TOKEN'} end
if not admits then return {'NOT_IN_ROOM'} end

if idempotency then
  local stored = redis.call('GET', idempotency)
  if stored then
    local entry = redis.call('XRANGE', messages, stored, stored)[1]
    -- Trimmed meanwhile: the retry carries the same text.
    local said = entry and entry[2][4] or text
    if not held then return {'REPEAT', stored, said} end
    -- A write, so that waiting for this connection's writes waits for the message as well.
    redis.call('PEXPIRE', idempotency, idempotency_ttl)
    return {'REPEAT', stored, said, frame(stored, said)}
  end
end

if tonumber(redis.call('GET', rate) or 0) >= per_second then
  return {'RATE_LIMITED', math.max(redis.call('PTTL', rate), 1)}
end

local message_id = next_id(facts[2] or '', tip(messages), now_ms)
local entry = {'from', user, 'text', text}
if key ~= '' then entry[5], entry[6] = 'key', key end
local stored = redis.pcall('XADD', messages, 'MAXLEN', '~', kept, message_id, unpack(entry))
if type(stored) == 'table' then
  -- Somebody deleted or added entries by hand: let Redis choose an id after all of them.
  message_id = redis.call('XADD', messages, 'MAXLEN', '~', kept, '*', unpack(entry))
end
if idempotency then redis.call('SET', idempotency, message_id, 'PX', idempotency_ttl) end
-- The second begins with its first message and is over with the key.
if redis.call('INCR', rate) == 1 then redis.call('PEXPIRE', rate, 1000) end
redis.call('PEXPIRE', room, room_ttl)
redis.call('PEXPIRE', messages, room_ttl)
redis.call('PEXPIRE', session, session_ttl, 'GT')
if held then return {'OK', message_id, text, frame(message_id, text)} end
redis.call('PUBLISH', chan, frame(message_id, text))
return {'OK', message_id}
