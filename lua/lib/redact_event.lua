-- redact_event(room, to, id, from, at) removes the text of a deleted message from the event that tells of it, where that
-- waits or could not be posted: no more than so many events and letters in a call. `from` said it; `at` is where the
-- call before stopped, '' for the first. Returns where this one stopped, or '' where nothing is left to look through.
-- `to` has the list of the room's events and the dead letters, `room` its id.
-- Meanwhile an event may become a letter, and a letter an event again, the list's newest. So the letters come first, then
-- the events from the newest on, then the letters that are new since.
-- Needs: timestamp.
local LOOKED_THROUGH = 128

local function redact_event(room, to, id, from, at)
  local stage, letter, seen = string.match(at, '^(%a+) (%S+) (%d+)$')
  if not stage then stage, letter, seen = 'letters', '-', '0' end
  seen = tonumber(seen)
  local left = LOOKED_THROUGH
  local begins = '{"roomId":"' .. room.id .. '","id":"' .. id .. '"'
  local message = begins .. ',"from":' .. cjson.encode(from) .. ',"timestamp":"'
    .. timestamp(string.match(id, '^%d+')) .. '","deleted":true}'
  local function tells(kind, data) return kind == 'message.created' and string.sub(data, 1, #begins) == begins end

  local function find_letter()
    local page = redis.call('XRANGE', to.dead, letter == '-' and '-' or '(' .. letter, '+', 'COUNT', left)
    for _, entry in ipairs(page) do
      local fields = entry[2]
      letter = entry[1]
      -- The field order of settle_hook: type is the second, data the last.
      if fields[14] and tells(fields[4], fields[14]) then
        fields[14] = message
        redis.call('XADD', to.dead, '*', unpack(fields))
        redis.call('XDEL', to.dead, letter)
        return true
      end
    end
    left = left - #page
    return false
  end

  local function find_event()
    local page = redis.call('LRANGE', to.events, -seen - left, -seen - 1)
    for i = #page, 1, -1 do
      local head, kind, data = string.match(page[i], '^(%S+ (%S+) %d+ %d+ )(.*)$')
      if head and tells(kind, data) then
        redis.call('LSET', to.events, i - 1 - seen - #page, head .. message)
        return true
      end
    end
    seen, left = seen + #page, left - #page
    return false
  end

  for _, look in ipairs({{'letters', find_letter}, {'events', find_event}, {'new', find_letter}}) do
    if stage == look[1] then
      if look[2]() then return '' end
      if left == 0 then return string.format('%s %s %d', stage, letter, seen) end
      stage = stage == 'letters' and 'events' or 'new'
    end
  end
  return ''
end
