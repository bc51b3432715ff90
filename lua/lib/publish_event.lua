-- publish_event(room, kind, rest) publishes an event of the room and counts it, so that a node with a
-- lower count knows that it missed one. `rest` is the JSON after the room's id. Sets room.events, the
-- count. Needs: publish.
local function publish_event(room, kind, rest)
  room.events = string.format('%d', redis.call('HINCRBY', room.hash, 'events', '1'))
  publish(room.chan, '{"t":"' .. kind .. '","roomId":"' .. room.id .. '",' .. rest .. '}')
end

