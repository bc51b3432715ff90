-- hook_member(room, user, is_here) writes the event that a user became a member, or stopped being
-- one. For message.missed it maintains the set of users who have a session but are not members. For
-- a user who comes back to a room that is `returning` no leave was reported, so no join is either.
-- Needs: hook.
local function hook_member(room, user, is_here)
  local to = room.hooks
  if not (is_here and room.returning) then
    hook(room, is_here and 'member.joined' or 'member.left',
      '{"roomId":"' .. room.id .. '","userId":' .. cjson.encode(user) .. '}')
  end
  redis.pcall(is_here and 'SREM' or 'SADD', to.absent, user)
  redis.pcall('PEXPIRE', to.absent, to.session_ttl)
end
