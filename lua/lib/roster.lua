-- roster(room) -> the first room.roster_max of the members by name, and those of them who are away, both as JSON
-- arrays, and the number of all members. O(log members) beyond these.
-- Needs: away_members, json_list, member_names, repair_name_index.
local function roster(room)
  local count = redis.call('SCARD', room.members)
  repair_name_index(room, count)
  local members = member_names(room, '', room.roster_max)
  return json_list(members), json_list(away_members(room, members)), string.format('%d', count)
end

