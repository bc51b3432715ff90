-- removal(secret, who) -> what proves that a `removed` event comes from a script: nodes act on it, and everybody
-- with access to Redis may publish. `who` is a session as session_mark writes it, or 'everybody'. src/removal.rs
-- computes the same. Needs: room_key.
-- ended_by(hash, mark) -> 'removed' or 'left' where that session was ended so, else nil.
-- session_mark(joined, user) -> names one session of all that a name has in a room.
local function removal(secret, who)
  return string.sub(redis.sha1hex(secret .. ' removed ' .. who), 1, 32)
end
local function session_mark(joined, user)
  return joined .. ' ' .. user
end
local function ended_by(hash, mark)
  local removed = room_key(hash, 'removed')
  for _, reason in ipairs({'removed', 'left'}) do
    if redis.call('ZSCORE', removed, reason .. ' ' .. mark) then return reason end
  end
end

