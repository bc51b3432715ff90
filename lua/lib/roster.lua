-- roster(room, me) -> the first room.roster_max of the members by name, `me` (optional, a member) among them, and
-- those of them who are away, both as JSON arrays, and the number of all members. O(log members) beyond these.
-- Needs: away_members, json_list, member_names, mend_names.
local function roster(room, me)
  mend_names(room)
  local count = redis.call('SCARD', room.members)
  local members = member_names(room, '', room.roster_max)
  if me and #members > 0 and #members < count then
    local is_listed = false
    for _, user in ipairs(members) do is_listed = is_listed or user == me end
    if not is_listed then members[#members] = me end
  end
  return json_list(members), json_list(away_members(room, members)), string.format('%d', count)
end

