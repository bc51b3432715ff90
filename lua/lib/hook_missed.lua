-- hook_missed(room, from, id) writes an event for each user who has a session, is no member and is not `from`.
-- Those whose session has ended are forgotten here. O(users absent). Needs: hook, user_key.
local function hook_missed(room, from, id)
  local to = room.hooks
  local absent = redis.pcall('SMEMBERS', to.absent)
  for _, user in ipairs(absent) do
    if redis.call('EXISTS', user_key(to, user, 'session')) == 0 then
      redis.call('SREM', to.absent, user)
    elseif user ~= from then
      hook(room, 'message.missed',
        '{"roomId":"' .. room.id .. '","id":"' .. id .. '","userId":' .. cjson.encode(user) .. '}')
    end
  end
  -- A message is a sign of life of its author, who may be absent too.
  if #absent > 0 then redis.call('PEXPIRE', to.absent, to.session_ttl) end
end
