-- hook_member(room, user, is_here) writes the event that somebody is a member, or no member any more, and
-- keeps for message.missed who has a session and is none. Who comes back to a room that is `returning` was never
-- told to have left. Needs: hook.
local function hook_member(room, user, is_here)
  local to = room.hooks
  if not to then return end
  if not (is_here and room.returning) then
    hook(room, is_here and 'member.joined' or 'member.left',
      '{"roomId":"' .. room.id .. '","userId":' .. cjson.encode(user) .. '}')
  end
  redis.pcall(is_here and 'SREM' or 'SADD', to.absent, user)
  redis.pcall('PEXPIRE', to.absent, to.session_ttl)
end
