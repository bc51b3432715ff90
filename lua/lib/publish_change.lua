-- publish_change(room, kind, rest) publishes what one member did, unless the room is large: then everybody is
-- told the number of members only, by tell_size. Needs: publish_event.
local function publish_change(room, kind, rest)
  if not room.large then publish_event(room, kind, rest) end
end

