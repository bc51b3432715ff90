-- settle(room, user, now_ms, is_here) -> whether the user has a live connection. If so, makes what
-- the room shows of the user agree with its connections: a member until the last of their
-- deadlines, away only if all of them are. Publishes only changes. For a user who comes back to a
-- room that is `returning`, no user_left was published, so it publishes no user_joined and sets
-- room.returned. `is_here` is true if the caller knows that the user is a member. No connection
-- counts for longer than room.presence_ttl (ms), even with a later deadline: Redis's clock may have
-- been set back. Needs: user_key.
local function settle(room, user, now_ms, is_here)
  local session = user_key(room, user, 'session')
  local presence = user_key(room, user, 'presence')
  local fields = redis.call('HGETALL', session)
  local deadline, status, was_away, latest = 0, 'away', false, now_ms + room.presence_ttl
  for i = 1, #fields, 2 do
    local field = fields[i]
    if field == 'away' then
      was_away = true
    elseif string.sub(field, 1, 5) == 'conn:' then
      local lapses, shown = string.match(fields[i + 1], '^(%d+) (%a+)$')
      lapses = tonumber(lapses)
      if not lapses or lapses <= now_ms then
        redis.call('HDEL', session, field)
      else
        if lapses > latest then
          lapses = latest
          redis.call('HSET', session, field, string.format('%d %s', lapses, shown))
        end
        deadline = math.max(deadline, lapses)
        if shown == 'online' then status = 'online' end
      end
    end
  end
  if deadline == 0 then return false end

  local stays = string.format('%d', deadline - now_ms)
  redis.call('ZADD', room.deadlines, string.format('%d', deadline), user)
  -- The presence expires at the deadline, the member is removed only by the next script that
  -- touches the room: the session stores the status that was shown last.
  local before = was_away and 'away' or 'online'
  if before ~= status or redis.call('PEXPIRE', presence, stays) == 0 then
    redis.call('SET', presence, status, 'PX', stays)
  end
  local is_new = not is_here and redis.call('SADD', room.members, user) == 1
  if is_new then
    redis.call('ZADD', room.names, '0', user)
    if room.hooks then
      -- Needs: hook_member.
      hook_member(room, user, true)
    end
    if room.returning then
      -- The list of all members follows, with the away ones.
      room.returned, before = true, status
    else
      before = 'online'
      -- Needs: publish_change.
      publish_change(room, 'user_joined', '"userId":' .. cjson.encode(user))
    end
  end
  local is_away = status == 'away'
  if is_new or is_away ~= was_away then
    if is_away then
      redis.call('HSET', session, 'away', '1')
      redis.call('SADD', room.away, user)
      redis.call('PEXPIRE', room.away, room.presence_ttl, 'NX')
    else
      redis.call('HDEL', session, 'away')
      redis.call('SREM', room.away, user)
    end
  end
  if before ~= status then
    -- Needs: publish_change.
    publish_change(room, 'presence', '"userId":' .. cjson.encode(user) .. ',"status":"' .. status .. '"')
  end
  return true
end

