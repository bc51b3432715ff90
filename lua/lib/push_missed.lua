-- push_missed(room, from, id) writes a push of a message for each user with a subscription who is not a member or is
-- away, and is not `from`. A waiting push that is not being sent is changed to the newest message, with the number of
-- earlier ones: no user has more than two. Returns those of the users who are not members. room.push is the result of
-- `pushes`. O(users with a subscription). Needs: clock, room_key, user_key, write_event.
local PUSHED_AT_ONCE = 1000

local function push_to(room, user, id)
  local to, list = room.push, user_key(room.push, user, 'pushes')
  local data = '{"roomId":"' .. room.id .. '","userId":' .. cjson.encode(user) .. ',"id":"' .. id .. '","more":'
  local count = redis.pcall('LLEN', list)
  -- The first one may be in progress, unless all of them wait until they are due.
  local free = type(count) == 'number' and count > (redis.pcall('ZSCORE', to.delayed, list) and 0 or 1)
  local last = free and redis.pcall('LINDEX', list, '-1') or ''
  local head, more = string.match(last, '^(%S+ push %d+ %d+ ).*"more":(%d+)}$')
  if head then
    redis.pcall('LSET', list, '-1', head .. data .. string.format('%d}', more + 1))
    return
  end
  write_event({events = list, ready = to.ready, delayed = to.delayed, oldest = to.oldest, state = to.state,
    most = to.most, age_max = to.age_max}, 'push', data .. '0}')
end

local function push_missed(room, from, id)
  local users = redis.pcall('HKEYS', room_key(room.hash, 'push'))
  local gone, now_ms = {}, tonumber(clock())
  for first = 1, #users, PUSHED_AT_ONCE do
    local last = math.min(first + PUSHED_AT_ONCE - 1, #users)
    local lapses = redis.pcall('ZMSCORE', room_key(room.hash, 'deadlines'), unpack(users, first, last))
    local away = redis.pcall('SMISMEMBER', room_key(room.hash, 'away'), unpack(users, first, last))
    for i = first, last do
      local user, nth = users[i], i - first + 1
      local is_here = lapses[nth] and tonumber(lapses[nth]) > now_ms
      if not is_here then gone[#gone + 1] = user end
      if user ~= from and (not is_here or away[nth] == 1) then push_to(room, user, id) end
    end
  end
  return gone
end
