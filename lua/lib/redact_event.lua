-- redact_event(room, begins, message) removes the text of a deleted message from the waiting events
-- and from the dead letters: their data becomes `message`. Both arguments are JSON; `begins` is how
-- the data of every event about this message begins. O(events of the room + dead letters).
local function redact_event(room, begins, message)
  local to = room.hooks
  local function tells(kind, data) return kind == 'message.created' and string.sub(data, 1, #begins) == begins end

  for first = 0, redis.call('LLEN', to.events) - 1, 100 do
    for i, event in ipairs(redis.call('LRANGE', to.events, first, first + 99)) do
      local head, kind, data = string.match(event, '^(%S+ (%S+) %d+ %d+ )(.*)$')
      if head and tells(kind, data) then redis.call('LSET', to.events, first + i - 1, head .. message) end
    end
  end

  local page = redis.call('XRANGE', to.dead, '-', '+', 'COUNT', '100')
  while #page > 0 do
    for _, letter in ipairs(page) do
      local fields = letter[2]
      -- The field order of settle_hook: type is the second, data the last.
      if fields[14] and tells(fields[4], fields[14]) then
        fields[14] = message
        redis.call('XADD', to.dead, '*', unpack(fields))
        redis.call('XDEL', to.dead, letter[1])
        return
      end
    end
    page = redis.call('XRANGE', to.dead, '(' .. page[#page][1], '+', 'COUNT', '100')
  end
end
