-- hook_missed(room, from, id, pushed) writes an event for each user who has a session, is no member and is not `from`,
-- and for those of `pushed`, who have a subscription and are no members. Those whose session has ended are forgotten
-- here. O(users absent). Needs: hook, user_key.
local function hook_missed(room, from, id, pushed)
  local to = room.hooks
  local absent, missed = redis.pcall('SMEMBERS', to.absent), {}
  for _, user in ipairs(absent) do
    if redis.call('EXISTS', user_key(to, user, 'session')) == 0 then
      redis.call('SREM', to.absent, user)
    else
      missed[user] = true
    end
  end
  for _, user in ipairs(pushed) do missed[user] = true end
  missed[from] = nil
  for user in pairs(missed) do
    hook(room, 'message.missed',
      '{"roomId":"' .. room.id .. '","id":"' .. id .. '","userId":' .. cjson.encode(user) .. '}')
  end
  -- A message renews the session of its author, who may be absent too.
  if #absent > 0 then redis.call('PEXPIRE', to.absent, to.session_ttl) end
end
