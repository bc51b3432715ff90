-- What is left of deleted messages: the members of the sorted set `deleted` of a room. All have the score 0 and sort
-- like ids: each part of the id in 20 digits, then the number of events that the room had counted with the deletion,
-- the author as stored in the entry, and the name. place_of(id) -> how the member of a message begins.
-- read_place(place) -> what a member says, or nil.
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
