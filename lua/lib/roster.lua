-- roster(room) -> the first room.roster_max of the members by name, and those of them who are away, both as JSON
-- arrays, and the number of all members. O(log members) beyond these.
-- Needs: away_members, json_list, member_names, mend_names.
local function roster(room)
  mend_names(room)
  local count = redis.call('SCARD', room.members)
  local members = member_names(room, '', room.roster_max)
  return json_list(members), json_list(away_members(room, members)), string.format('%d', count)
end

