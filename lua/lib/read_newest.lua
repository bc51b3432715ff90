-- read_newest(room, since, most, bytes) -> the newest entries after `since` (of all if that is ''),
-- newest first, limited by number and bytes; and whether older ones after `since` were left out. Reads
-- hardly more than it returns. Needs: read_entries.
local function read_newest(room, since, most, bytes)
  local oldest, newest_left, found = since == '' and '-' or '(' .. since, '+', {}
  while true do
    local step = math.min(most + 1 - #found, 50)
    local page = read_entries(room.deleted, room.messages, 'XREVRANGE', newest_left, oldest, step)
    for i = 1, #page do
      for _, text in ipairs(page[i][2]) do bytes = bytes - #text end
      if #found == most or bytes < 0 then return found, true end
      found[#found + 1] = page[i]
    end
    if #page < step then return found, false end
    newest_left = '(' .. page[#page][1]
  end
end

