-- Stores a message, then tells the room: one call, however many members.
-- KEYS 4: 1 room, 2 messages, 3 user's session, 4 user's idempotency key, left out where the sender
--         gave none
-- ARGV 17: 1 the room's channel, 2 user, 3 the session's field that admits the sender: 'token', or
--          'conn:' and a connection id, 4 the token hash that the field must hold, or '' where its
--          presence is enough, 5 text, 6 idempotency key or '', 7 messages a second a user may
--          send, 8 messages kept (about), 9 room TTL (ms), 10 session TTL (ms), 11 idempotency TTL
--          (ms), 12 '1' to leave telling the room to the caller, who waits until the message is
--          kept, else '0'; then what the caller writes at less cost: the JSON of the msg frame, 13
--          up to the id, 14 from there to the time, 15 the rest, and the second that it takes this
--          to be: 16 as seconds since 1970, 17 as RFC 3339 up to the dot behind it
-- RETURNS {'OK', id}, {'REPEAT', id, text} for a key that was used, or where the caller tells the
--         room one of these with text and msg frame, {'OK' or 'REPEAT', id, text, frame};
--         {'ROOM_NOT_FOUND'}, {'INVALID_TOKEN'}, {'NOT_IN_ROOM'} or {'RATE_LIMITED', wait (ms)}
-- PUBLISHES msg
-- PROMISE 1: it is in the stream before anybody is told. PROMISE 3: a retry is not a repeat.
-- PROMISE 9: the rate is the user's, over all its connections and nodes.
local room, messages, session, idempotency = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local chan, user, field, token_hash, text, key = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local per_second, kept, held = tonumber(ARGV[7]), ARGV[8], ARGV[12] == '1'
local room_ttl, session_ttl, idempotency_ttl = ARGV[9], ARGV[10], ARGV[11]
local now = clock()
local now_ms = tonumber(now)

local function frame(message_id, said)
  local middle = ARGV[14]
  if said ~= text then
    middle = '","from":' .. cjson.encode(user) .. ',"text":' .. cjson.encode(said) .. ',"timestamp":"'
  end
  local ms = string.match(message_id, '^%d+')
  return ARGV[13] .. message_id .. middle .. timestamp(ms, ARGV[16], ARGV[17]) .. ARGV[15]
end

local facts = redis.call('HMGET', room, 'createdAt', 'secret', 'last')
if not facts[1] then return {'ROOM_NOT_FOUND'} end
local sender = redis.call('HMGET', session, field, 'second', 'said')
local admits = sender[1]
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

-- The second begins with its first message.
local left = tonumber(sender[2] or 0) + 1000 - now_ms
local is_new_second = left <= 0 or left > 1000
local said = is_new_second and 0 or tonumber(sender[3])
if said >= per_second then return {'RATE_LIMITED', left} end

local message_id = next_id(facts[2] or '', tip(messages, facts[3]), now, now_ms)
local entry = {'MAXLEN', '~', kept, message_id, 'from', user, 'text', text}
if key ~= '' then entry[9], entry[10] = 'key', key end
local stored = redis.pcall('XADD', messages, 'NOMKSTREAM', unpack(entry))
local is_new_stream = not stored
if is_new_stream then stored = redis.pcall('XADD', messages, unpack(entry)) end
if type(stored) == 'table' then
  -- Somebody deleted or added entries by hand: let Redis choose an id after all of them.
  entry[4] = '*'
  message_id = redis.call('XADD', messages, unpack(entry))
end
redis.call('HSET', room, 'last', message_id)
if idempotency then redis.call('SET', idempotency, message_id, 'PX', idempotency_ttl) end
-- Without one, a stream that somebody deleted would come back for good.
if is_new_stream or is_new_second then redis.call('PEXPIRE', messages, room_ttl) end
if is_new_second then
  redis.call('HSET', session, 'second', now, 'said', '1')
  redis.call('PEXPIRE', room, room_ttl)
  redis.call('PEXPIRE', session, session_ttl, 'GT')
else
  redis.call('HINCRBY', session, 'said', '1')
end
if held then return {'OK', message_id, text, frame(message_id, text)} end
redis.call('PUBLISH', chan, frame(message_id, text))
return {'OK', message_id}
