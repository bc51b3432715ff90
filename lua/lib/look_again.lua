-- look_again(room, wait) notes that the room wants to be swept again in so many ms. The earliest counts.
local function look_again(room, wait)
  room.again = math.min(room.again or wait, wait)
end

-- again(room) -> in how many ms the caller has to see to a sweep, as decimal text, or ''.
local function again(room)
  return room.again and string.format('%d', room.again) or ''
end

