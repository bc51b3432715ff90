-- Stores what several senders say in a room, in their order, and tells the room: one call, however many
-- members. Each message stands for itself: one that is refused keeps none of the others back.
-- KEYS 2: 1 room, 2 messages; then for each message the sender's session, and the sender's idempotency
--         key where it gave one
-- ARGV 10: 1 the room's channel, 2 messages a second a user may send, 3 messages kept (about), 4 room
--          TTL (ms), 5 session TTL (ms), 6 idempotency TTL (ms), 7 '1' to leave telling the room to the
--          caller, who waits until the messages are kept, else '0'; then what the caller writes at less
--          cost: 8 how the JSON of a msg frame begins, up to the id, and the second that it takes this
--          to be: 9 as seconds since 1970, 10 as RFC 3339 up to the dot behind it. Then seven for each
--          message: user, the session's field that admits the sender: 'token', or 'conn:' and a
--          connection id, the token hash that the field must hold, or '' where its presence is enough,
--          text, idempotency key or '', and of the msg frame what stands between its id and its time,
--          and behind these
-- RETURNS {'ROOM_NOT_FOUND'}, or {'OK', number of frames, what became of each message, the frames that
--         the caller tells the room}. Of a message: 'OK', id; 'REPEAT', id, text for a key that was
--         used; 'RATE_LIMITED', wait (ms); 'FAILED', why; or 'INVALID_TOKEN' or 'NOT_IN_ROOM' alone
-- PUBLISHES msg
-- PROMISE 1: it is in the stream before anybody is told. PROMISE 3: a retry is not a repeat.
-- PROMISE 9: the rate is the user's, over all its connections and nodes.
local room, messages, chan = KEYS[1], KEYS[2], ARGV[1]
local per_second, kept, held = tonumber(ARGV[2]), ARGV[3], ARGV[7] == '1'
local room_ttl, session_ttl, idempotency_ttl = ARGV[4], ARGV[5], ARGV[6]
local head, second, begins = ARGV[8], ARGV[9], ARGV[10]
local now = clock()
local now_ms = tonumber(now)

local facts = redis.call('HMGET', room, 'createdAt', 'secret', 'last')
if not facts[1] then return {'ROOM_NOT_FOUND'} end
local secret, noted, slides = facts[2] or '', facts[3], false
-- The last message that this call stored, and how many of its millisecond came before it.
local last, count
-- A millisecond, and that as it stands in a frame.
local stamped, stamp
local answer, frames = {'OK', '0'}, {}

local function tell(message_id, ms, middle, rest)
  if ms ~= stamped then stamped, stamp = ms, timestamp(ms, second, begins) end
  local frame = head .. message_id .. middle .. stamp .. rest
  if held then frames[#frames + 1] = frame else redis.call('PUBLISH', chan, frame) end
end

-- Adds to the stream what next_id says comes next, and returns its id and its millisecond.
local function store(user, text, key)
  local ms
  last, ms, count = next_id(secret, last or tip(messages, noted), now, now_ms, count)
  local entry = {'MAXLEN', '~', kept, last, 'from', user, 'text', text}
  if key ~= '' then entry[9], entry[10] = 'key', key end
  local stored = redis.pcall('XADD', messages, 'NOMKSTREAM', unpack(entry))
  if not stored then
    -- Without a TTL, a stream that somebody deleted would come back for good.
    slides = true
    stored = redis.pcall('XADD', messages, unpack(entry))
  end
  if type(stored) == 'table' then
    -- Somebody deleted or added entries by hand: let Redis choose an id after all of them.
    entry[4] = '*'
    last, count = redis.call('XADD', messages, unpack(entry)), nil
    ms = string.match(last, '^%d+')
  end
  return last, ms
end

local function repeated(idempotency, stored, user, text, middle, rest)
  local entry = redis.call('XRANGE', messages, stored, stored)[1]
  -- Trimmed meanwhile: the retry carries the same text.
  local said = entry and entry[2][4] or text
  if held then
    -- A write, so that waiting for this connection's writes waits for the message as well.
    redis.call('PEXPIRE', idempotency, idempotency_ttl)
    if said ~= text then
      middle = '","from":' .. cjson.encode(user) .. ',"text":' .. cjson.encode(said) .. ',"timestamp":"'
    end
    tell(stored, string.match(stored, '^%d+'), middle, rest)
  end
  return 'REPEAT', stored, said
end

local function say(session, idempotency, user, field, token_hash, text, key, middle, rest)
  local sender = redis.call('HMGET', session, field, 'second', 'said')
  local admits = sender[1]
  if token_hash ~= '' and admits ~= token_hash then return 'INVALID_TOKEN' end
  if not admits then return 'NOT_IN_ROOM' end

  local stored = idempotency and redis.call('GET', idempotency)
  if stored then return repeated(idempotency, stored, user, text, middle, rest) end

  -- The second begins with its first message.
  local left = tonumber(sender[2] or 0) + 1000 - now_ms
  local is_new_second = left <= 0 or left > 1000
  if not is_new_second and tonumber(sender[3]) >= per_second then return 'RATE_LIMITED', left end

  local message_id, ms = store(user, text, key)
  if idempotency then redis.call('SET', idempotency, message_id, 'PX', idempotency_ttl) end
  if is_new_second then
    slides = true
    redis.call('HSET', session, 'second', now, 'said', '1')
    redis.call('PEXPIRE', session, session_ttl, 'GT')
  else
    redis.call('HINCRBY', session, 'said', '1')
  end
  tell(message_id, ms, middle, rest)
  return 'OK', message_id
end

local at = 3
for first = 11, #ARGV, 7 do
  local session, idempotency = KEYS[at], nil
  at = at + 1
  if ARGV[first + 4] ~= '' then
    idempotency = KEYS[at]
    at = at + 1
  end
  local ran, outcome, value, more = pcall(say, session, idempotency, unpack(ARGV, first, first + 6))
  if not ran then outcome, value = 'FAILED', type(outcome) == 'table' and outcome.err or outcome end
  local n = #answer
  answer[n + 1], answer[n + 2] = outcome, value
  if more then answer[n + 3] = more end
end
if last then redis.call('HSET', room, 'last', last) end
if slides then
  redis.call('PEXPIRE', messages, room_ttl)
  redis.call('PEXPIRE', room, room_ttl)
end
answer[2] = string.format('%d', #frames)
for i = 1, #frames do answer[#answer + 1] = frames[i] end
return answer
