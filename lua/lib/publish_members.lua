-- publish_members(room) publishes the list of members. Needs: members_event, publish_event.
local function publish_members(room)
  publish_event(room, 'members', members_event(room))
end

