-- tell_all(room) publishes the whole truth about the members. Needs: announce, roster.
local function tell_all(room)
  local members, away = roster(room)
  announce(room, 'members', '"members":' .. members .. ',"away":' .. away)
end

