-- hook(room, kind, data) writes an event of a room for the webhook, if there is one that wants this type; `data` is
-- JSON. Needs: write_event.
local function hook(room, kind, data)
  local to = room.hooks
  if to and string.find(to.types, ' ' .. kind .. ' ', 1, true) then write_event(to, kind, data) end
end
