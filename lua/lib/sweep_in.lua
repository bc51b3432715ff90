-- sweep_in(room, wait) notes that the room needs another sweep in `wait` ms. The earliest one
-- counts.
local function sweep_in(room, wait)
  room.again = math.min(room.again or wait, wait)
end

-- again(room) -> in how many ms the caller has to sweep the room, as decimal text, or ''.
local function again(room)
  return room.again and string.format('%d', room.again) or ''
end

