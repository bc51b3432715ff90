-- tell_all(room) publishes the whole truth about the members. Needs: announce, roster.
local function tell_all(room)
  -- Who came back to a room that is `returning` was not announced.
  redis.call('DEL', room.roster)
  local members, gone = roster(room)
  announce(room, 'members', '"members":' .. members .. ',"away":' .. gone)
end

