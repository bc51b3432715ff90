-- lifetime(hash, usual) -> for how long (ms) a room lives without a sign of life: what its creator chose,
-- else as long as usual. Where something else stands in place of the choice, it counts for nothing.
local function lifetime(hash, usual)
  local chosen = redis.call('HGET', hash, 'ttl')
  if chosen and #chosen < 10 and string.find(chosen, '^[1-9]%d*$') then return chosen .. '000' end
  return usual
end

