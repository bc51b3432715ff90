-- publish_change(room, kind, rest) publishes a change of one member. In a large room it publishes
-- nothing, because there tell_size publishes only the number of members. Needs: publish_event.
local function publish_change(room, kind, rest)
  if not room.large then publish_event(room, kind, rest) end
end

