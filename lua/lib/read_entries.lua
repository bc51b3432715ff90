-- The messages of a room: the entries of its stream, and for each deleted message what is left of
-- it. The entry of a deleted message is removed from the stream, so the ids and the order of the
-- others do not change. What is left is in the sorted set `deleted`, whose members all have the
-- score 0 and sort like ids: each part of the id in 20 digits, then the number of events that the
-- room had counted with the deletion, the author as stored in the entry, and the name. Needs:
-- room_key.
local function place_of(id)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. '-' .. string.rep('0', 20 - #sequence) .. sequence
end
local function read_place(place)
  local ms, sequence, events, by, from = string.match(place, '^0*(%d+)%-0*(%d+) (%d+) (%S*) (.*)$')
  if not ms then return nil end
  return {id = ms .. '-' .. sequence, events = tonumber(events), by = by, from = from}
end
-- find_deleted(deleted, id) -> what is left of the deleted message, or nil.
local function find_deleted(deleted, id)
  local place = place_of(id)
  local found = redis.call('ZRANGEBYLEX', deleted, '[' .. place, '(' .. place .. '!')
  return found[1] and read_place(found[1])
end
-- A bound of XRANGE as a bound of ZRANGEBYLEX: in every member a space follows the id, and '!'
-- sorts right after the space.
local function place_bound(bound, is_least)
  if bound == '-' or bound == '+' then return bound end
  local excluded = string.sub(bound, 1, 1) == '('
  local place = place_of(excluded and string.sub(bound, 2) or bound)
  if excluded == is_least then return '(' .. place .. '!' end
  return is_least and '[' .. place or '(' .. place
end
-- read_entries(hash, stream, way, first, last, count) -> at most `count` messages between the two
-- ids, in the order of `way`, which is XRANGE or XREVRANGE. A deleted one has the fields `from` and
-- `deleted`.
local function read_entries(hash, stream, way, first, last, count)
  local found = redis.call(way, stream, first, last, 'COUNT', count)
  local ascends = way == 'XRANGE'
  local gone = redis.call(ascends and 'ZRANGEBYLEX' or 'ZREVRANGEBYLEX', room_key(hash, 'deleted'),
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

