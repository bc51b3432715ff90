-- publish_members(room) publishes the list of members. Needs: publish_event, roster.
local function publish_members(room)
  -- Who came back to a room that is `returning` was not announced.
  redis.call('DEL', room.roster)
  local members, away = roster(room)
  publish_event(room, 'members', '"members":' .. members .. ',"away":' .. away)
end

