-- removal(secret, who) -> what proves that a `removed` event comes from a script: nodes act on it, and everybody
-- with access to Redis may publish. `who` is a session as session_mark writes it, or 'everybody'. src/removal.rs
-- computes the same. Needs: room_key.
-- removal_event(secret, joined, user, reason) -> the JSON of that event about a session, after the room's id.
-- note_removal(hash, mark, reason, events, most) keeps that the session was ended with that event of the room, and of
-- the latest such so many. ended_by(hash, mark) -> 'removed' or 'left' where that session was ended so, else nil.
-- removed_since(room, secret, events) -> the frames about the sessions that were ended when the room had seen more
-- events than that, oldest first. session_mark(joined, user) -> names one session of all that a name has in a room.
local function removal(secret, who)
  return string.sub(redis.sha1hex(secret .. ' removed ' .. who), 1, 32)
end
local function session_mark(joined, user)
  return joined .. ' ' .. user
end
local function removal_event(secret, joined, user, reason)
  return '"userId":' .. cjson.encode(user) .. ',"joinedAt":"' .. joined .. '","reason":"' .. reason .. '","proof":"'
    .. removal(secret, session_mark(joined, user)) .. '"'
end
local function note_removal(hash, mark, reason, events, most)
  local removed = room_key(hash, 'removed')
  redis.call('ZADD', removed, events, reason .. ' ' .. mark)
  redis.call('ZREMRANGEBYRANK', removed, '0', string.format('%d', -most - 1))
end
local function removed_since(room, secret, events)
  local frames = {}
  for _, ended in ipairs(redis.call('ZRANGEBYSCORE', room_key(room.hash, 'removed'), '(' .. events, '+inf')) do
    local reason, joined, user = string.match(ended, '^(%l+) (%d*) (.*)$')
    if reason then
      frames[#frames + 1] = '{"t":"removed","roomId":"' .. room.id .. '",'
        .. removal_event(secret, joined, user, reason) .. '}'
    end
  end
  return frames
end
local function ended_by(hash, mark)
  local removed = room_key(hash, 'removed')
  for _, reason in ipairs({'removed', 'left'}) do
    if redis.call('ZSCORE', removed, reason .. ' ' .. mark) then return reason end
  end
end

