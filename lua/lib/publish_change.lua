-- publish_change(room, kind, rest) publishes a change of one member. In a large room it publishes
-- nothing, because there publish_member_count publishes only the number of members. Needs: publish_event.
local function publish_change(room, kind, rest)
  if not room.large then publish_event(room, kind, rest) end
end

