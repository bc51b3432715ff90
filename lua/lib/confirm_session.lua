-- confirm_session(session, session_ttl): the client has proved that it has the token, so the session is no
-- longer provisional.
local function confirm_session(session, session_ttl)
  if redis.call('HDEL', session, 'provisional') == 1 then
    redis.call('PEXPIRE', session, session_ttl, 'GT')
  end
end

