-- next_id(secret, previous, now, now_ms) -> id of the entry that follows `previous`. `now` is decimal
-- text, now_ms the same as a number.
-- The low 32 bits of its sequence number are a digest of what it follows, so that whoever holds
-- the previous message sees, without asking, whether one is missing in between. The bits above
-- count the messages of one millisecond; together they stay below 2^53, which Lua and browsers
-- keep exactly. Needs: digest.
local function next_id(secret, previous, now, now_ms)
  local ms = string.match(previous, '^%d+')
  local count = 0
  if tonumber(ms) >= now_ms then
    local sequence = string.match(previous, '%d+$')
    now, count = ms, math.floor(sequence / 4294967296) + 1
    if count >= 2097152 then now, count = string.format('%.0f', ms + 1), 0 end
  end
  return string.format('%s-%d', now, count * 4294967296 + digest(secret, previous, now))
end

