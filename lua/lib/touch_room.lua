-- touch_room(room, room_ttl) renews the TTLs of a room that has members, and sets `occupied`, unless
-- room.occupied has it already: if the members expire while it is set, they did not leave.
-- Needs: slide_room, note_lapse.
local function touch_room(room, room_ttl)
  if room.occupied ~= '1' then redis.call('HSET', room.hash, 'occupied', '1') end
  local stay = note_lapse(room, room.presence_ttl)
  for _, key in ipairs({room.members, room.deadlines, room.names, room.away}) do
    redis.call('PEXPIRE', key, stay)
  end
  slide_room(room.hash, room.messages, room_ttl)
end

