-- members_event(room) -> the JSON of a members frame after the room's id. Needs: roster.
local function members_event(room)
  local members, away, count = roster(room)
  return '"members":' .. members .. ',"away":' .. away .. ',"memberCount":' .. count
end

