-- settle(room, user, now_ms) -> whether the user has a live connection. If so, brings what the
-- room shows of the user in line with its connections: a member, online unless all of them are
-- away, until the last of their deadlines. Says what changed, and only that. A user who comes back
-- to a room that is `returning` was never said to have left: it sets room.returned instead.
-- Needs: announce.
local function settle(room, user, now_ms)
  local session = room.users .. user .. ':session'
  local presence = room.users .. user .. ':presence'
  local deadline, status, was_away = 0, 'away', false
  local fields = redis.call('HGETALL', session)
  for i = 1, #fields, 2 do
    if fields[i] == 'away' then
      was_away = true
    elseif string.sub(fields[i], 1, 5) == 'conn:' then
      local lapses, shown = string.match(fields[i + 1], '^(%d+) (%a+)$')
      lapses = tonumber(lapses)
      if lapses <= now_ms then
        redis.call('HDEL', session, fields[i])
      else
        deadline = math.max(deadline, lapses)
        if shown == 'online' then status = 'online' end
      end
    end
  end
  if deadline == 0 then return false end

  -- The presence lapses at the deadline, the member only when somebody touches the room: in
  -- between, the session knows what was shown last.
  local before = redis.call('GET', presence) or (was_away and 'away' or 'online')
  redis.call('ZADD', room.deadlines, deadline, user)
  redis.call('SET', presence, status, 'PX', string.format('%d', deadline - now_ms))
  if redis.call('SADD', room.members, user) == 1 then
    if room.returning then
      -- The list of all members follows, and says who is away.
      room.returned, before = true, status
    else
      before = 'online'
      announce(room, 'user_joined', '"userId":' .. cjson.encode(user))
    end
  end
  if status == 'away' and not was_away then redis.call('HSET', session, 'away', 1) end
  if status == 'online' and was_away then redis.call('HDEL', session, 'away') end
  if before ~= status then
    announce(room, 'presence', '"userId":' .. cjson.encode(user) .. ',"status":"' .. status .. '"')
  end
  return true
end

