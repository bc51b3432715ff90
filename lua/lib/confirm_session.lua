-- confirm_session(session, session_ttl) notes that somebody holds the token of a session: one that was provisional
-- stays from now on.
local function confirm_session(session, session_ttl)
  if redis.call('HDEL', session, 'provisional') == 1 then
    redis.call('PEXPIRE', session, session_ttl, 'GT')
  end
end

