-- Stores what several senders say in a room, in their order, and tells the room: one call, however many
-- members. Each message stands for itself: one that is refused keeps none of the others back.
-- KEYS 2: 1 room, 2 messages; then for each message the sender's session, and where it gave an idempotency
--         key the hash of the sender's
-- DERIVED from these: the older hash of the sender's; deleted, push, deadlines, away; the users' pushes
-- ARGV 13: 1 the room's channel, 2 messages a second a user may send, 3 messages kept (about), 4 room
--          TTL (ms), 5 session TTL (ms), 6 idempotency TTL (ms), 7 '1' to leave telling the room to the
--          caller, who waits until the messages are kept, else '0'; then what the caller writes at less
--          cost: 8 how the JSON of a msg frame begins, up to the id, and the second that it takes this
--          to be: 9 as seconds since 1970, 10 as RFC 3339 up to the dot behind it; 11 roomId, 12 a list: what
--          webhooks need, as hooks names it, 13 lines: what pushes need, as pushes names it. Then eight for each
--          message: user, the session's field that admits the sender: 'token', or 'conn:' and a
--          connection id, the token hash that the field must hold, or '' where its presence is enough,
--          '1' where the sender has its token and Redis may not know it else '0', text, idempotency key
--          or '', and of the msg frame what stands between its id and its time, and behind these
-- RETURNS {'ROOM_NOT_FOUND'}, or {'OK', number of frames, what became of each message, the frames that
--         the caller tells the room}. Of a message: 'OK', id; 'REPEAT', id, text for a key that was
--         used, 'DELETED', id where its message was deleted since; 'RATE_LIMITED', wait (ms); 'FAILED', why;
--         or 'INVALID_TOKEN' or 'NOT_IN_ROOM' alone
-- PUBLISHES msg
-- PROMISE 1: it is in the stream before anybody is told. PROMISE 3: a retry is not a repeat.
-- PROMISE 9: the rate is the user's, over all its connections and nodes. PROMISE 12: who is not looking is told.
-- Needs: author, clock, next_id, publish, sent_keys, slides, timestamp, tip.
local room, messages, chan = KEYS[1], KEYS[2], ARGV[1]
local per_second, kept, held = tonumber(ARGV[2]), ARGV[3], ARGV[7] == '1'
local room_ttl, session_ttl, idempotency_ttl = ARGV[4], ARGV[5], tonumber(ARGV[6])
local head, second, begins = ARGV[8], ARGV[9], ARGV[10]
local now = clock()
local now_ms = tonumber(now)

local facts = redis.call('HMGET', room, 'createdAt', 'secret', 'last', 'slideAt')
if not facts[1] then return {'ROOM_NOT_FOUND'} end
local secret, noted, slides = facts[2] or '', facts[3], must_slide(facts[4], now_ms, room_ttl)
-- What few rooms have: messages that were deleted, and subscriptions to pushes.
local oldest, is_pushed
if may_have_more(facts[4]) then oldest, is_pushed = unpack(redis.call('HMGET', room, 'oldest', 'push')) end
-- The last message that this call stored, how many of its millisecond came before it, and a
-- millisecond as it stands in a frame.
local last, count, stamped, stamp
local answer, frames = {'OK', '0'}, {}

-- Tells those who are not looking of a stored message, if anybody may have asked for that.
local tell_absent
if is_pushed or #ARGV[12] > 0 then
  -- Needs: hook, hook_missed, hooks, push_missed, pushes.
  local told = {hash = room, id = ARGV[11], hooks = hooks(ARGV[12]), push = is_pushed and pushes(ARGV[13])}
  tell_absent = function(user, id, frame)
    local pushed = told.push and push_missed(told, user, id) or {}
    if not told.hooks then return end
    -- A message is its frame without the type.
    hook(told, 'message.created', '{' .. string.sub(frame, #'{"t":"msg",' + 1))
    hook_missed(told, user, id, pushed)
  end
end

local at = 3
for first = 14, #ARGV, 8 do
  local user, field, token_hash, confirmed, text, key, middle, rest = unpack(ARGV, first, first + 7)
  local session, keys = KEYS[at], key ~= '' and KEYS[at + 1]
  at = at + (keys and 2 or 1)
  local sender = redis.pcall('HMGET', session, 'token', field, 'second', 'said')
  local stored, begun, known, of_it, said
  if keys then stored, begun = recall_key(keys, key) end
  if type(stored) == 'string' then
    -- Needs: sent_message.
    known, of_it, said = sent_message(messages, stored, user, text, sender[1])
  end
  -- The counter's second begins with its first message.
  local left, sent_this_second = (tonumber(sender[3]) or 0) + 1000 - now_ms, tonumber(sender[4])
  local is_new_second = not (left > 0 and left <= 1000 and sent_this_second)

  -- The outcome, and the millisecond of the frame to publish.
  local outcome, value, repeated, ms
  if sender.err or type(stored) == 'table' then
    outcome, value = 'FAILED', sender.err or stored.err
  elseif token_hash ~= '' and sender[2] ~= token_hash then
    outcome = 'INVALID_TOKEN'
  elseif not sender[2] then
    outcome = 'NOT_IN_ROOM'
  elseif known then
    outcome, value, repeated = known, of_it, said
    if held and repeated then
      -- A write, so that a WAIT for this connection's writes also covers the earlier message.
      note_key(keys, key, stored, begun, now, now_ms, idempotency_ttl)
      if repeated ~= text then
        middle = '","from":' .. cjson.encode(user) .. ',"text":' .. cjson.encode(repeated) .. ',"timestamp":"'
      end
      ms = string.match(stored, '^%d+')
    end
  elseif not is_new_second and sent_this_second >= per_second then
    outcome, value = 'RATE_LIMITED', left
  else
    local id, of, nth = next_id(secret, last or tip(messages, noted), now, now_ms, count)
    local entry = {'MAXLEN', '~', kept, id, 'from', user, 'text', text, 'by', author(sender[1] or '')}
    if keys then entry[11], entry[12] = 'key', key end
    local added = redis.pcall('XADD', messages, 'NOMKSTREAM', unpack(entry))
    if not added then
      -- Without this, a stream that somebody deleted would be recreated without a TTL.
      slides = true
      added = redis.pcall('XADD', messages, unpack(entry))
    end
    if type(added) == 'table' then
      -- Somebody deleted or added entries by hand: let Redis choose an id after all of them.
      entry[4] = '*'
      added = redis.pcall('XADD', messages, unpack(entry))
    end
    if type(added) == 'table' then
      outcome, value = 'FAILED', added.err
    else
      last, ms, count = added, of, nth
      if added ~= id then ms, count = string.match(added, '^%d+'), nil end
      if keys then note_key(keys, key, last, begun, now, now_ms, idempotency_ttl) end
      if is_new_second then
        redis.call('HSET', session, 'second', now, 'said', '1')
        redis.call('PEXPIRE', session, session_ttl, 'GT')
      else
        redis.pcall('HINCRBY', session, 'said', '1')
      end
      outcome, value = 'OK', last
    end
  end

  if ms then
    if ms ~= stamped then stamped, stamp = ms, timestamp(ms, second, begins) end
    local frame = head .. value .. middle .. stamp .. rest
    if held then frames[#frames + 1] = frame else publish(chan, frame) end
    if tell_absent and outcome == 'OK' then tell_absent(user, value, frame) end
  end
  if confirmed == '1' and outcome ~= 'FAILED' and outcome ~= 'INVALID_TOKEN' and outcome ~= 'NOT_IN_ROOM' then
    -- Needs: confirm_session.
    confirm_session(session, session_ttl)
  end
  local n = #answer
  answer[n + 1], answer[n + 2] = outcome, value
  if repeated then answer[n + 3] = repeated end
end

if last then redis.call('HSET', room, 'last', last) end
if last and oldest then
  -- Needs: trim_deleted.
  trim_deleted(room, messages, oldest)
end
if last and slides then
  -- Needs: slide_room.
  slide_room(room, messages, room_ttl, now_ms)
end
answer[2] = string.format('%d', #frames)
for i = 1, #frames do answer[#answer + 1] = frames[i] end
return answer
