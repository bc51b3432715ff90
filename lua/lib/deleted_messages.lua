-- deleted_up_to(hash, since) -> the ids of the deleted messages up to that id: a client that comes
-- back may still show them. None without `since` (''). deleted_since(hash, events) -> the ids of
-- the messages deleted after the room had counted that many events. O(messages deleted). Needs: places,
-- room_key.
local function ids_of(places, events)
  local ids = {}
  for _, place in ipairs(places) do
    local left = read_place(place)
    if left and left.events > events then ids[#ids + 1] = left.id end
  end
  return ids
end
local function deleted_up_to(hash, since)
  if since == '' then return {} end
  return ids_of(redis.call('ZRANGEBYLEX', room_key(hash, 'deleted'), '-', place_bound(since, false)), -1)
end
local function deleted_since(hash, events)
  return ids_of(redis.call('ZRANGE', room_key(hash, 'deleted'), '0', '-1'), events)
end

