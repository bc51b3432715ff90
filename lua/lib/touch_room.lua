-- touch_room(room, room_ttl, now_ms) renews the TTLs of a room that has members, and sets `occupied`, unless
-- room.occupied has it already: if the members expire while it is set, they did not leave. room.slide_at is the
-- field that slide_room writes. Needs: slides.
local function touch_room(room, room_ttl, now_ms)
  if room.occupied ~= '1' then redis.call('HSET', room.hash, 'occupied', '1') end
  local stay = room.presence_ttl
  if room.hooks then
    -- Needs: index_next_lapse.
    stay = index_next_lapse(room)
  end
  redis.call('PEXPIRE', room.members, stay)
  redis.call('PEXPIRE', room.deadlines, stay)
  redis.call('PEXPIRE', room.names, stay)
  redis.call('PEXPIRE', room.away, stay)
  if must_slide(room.slide_at, now_ms, room_ttl) then
    -- Needs: slide_room.
    slide_room(room.hash, room.messages, room_ttl, now_ms)
  end
end

