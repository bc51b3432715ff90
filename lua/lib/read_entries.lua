-- read_entries(deleted, stream, way, first, last, count) -> at most `count` messages of a room between the two
-- ids, in the order of `way`, which is XRANGE or XREVRANGE: the entries of its stream, and in its place what is left
-- of each deleted message, with the fields `from` and `deleted`. The entry of a deleted message is removed from the
-- stream, so the ids and the order of the others do not change. `deleted` is the key of what is left, or nil where
-- nothing was deleted.
local function read_entries(deleted, stream, way, first, last, count)
  local found = redis.call(way, stream, first, last, 'COUNT', count)
  if not deleted then return found end
  -- Needs: places.
  local ascends = way == 'XRANGE'
  local gone = redis.call(ascends and 'ZRANGEBYLEX' or 'ZREVRANGEBYLEX', deleted,
    place_bound(first, ascends), place_bound(last, not ascends), 'LIMIT', '0', count)
  if #gone == 0 then return found end
  local all, at = {}, 1
  for _, place in ipairs(gone) do
    while found[at] and (place_of(found[at][1]) < place) == ascends do
      all[#all + 1], at = found[at], at + 1
    end
    local left = read_place(place)
    if left then all[#all + 1] = {left.id, {'from', left.from, 'deleted', '1'}} end
  end
  for i = at, #found do all[#all + 1] = found[i] end
  for i = #all, tonumber(count) + 1, -1 do all[i] = nil end
  return all
end

