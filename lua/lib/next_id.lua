-- next_id(secret, previous, now_ms) -> id of the entry that follows `previous`.
-- The low 32 bits of its sequence number are a digest of what it follows, so that whoever holds
-- the previous message sees, without asking, whether one is missing in between. The bits above
-- count the messages of one millisecond; together they stay below 2^53, which Lua and browsers
-- keep exactly. Needs: digest.
local function next_id(secret, previous, now_ms)
  local ms, sequence = string.match(previous, '^(%d+)-(%d+)$')
  ms, sequence = tonumber(ms), tonumber(sequence)
  local count = 0
  if ms >= now_ms then
    now_ms = ms
    count = math.floor(sequence / 4294967296) + 1
    if count >= 2097152 then now_ms, count = ms + 1, 0 end
  end
  local at = string.format('%.0f', now_ms)
  return string.format('%s-%.0f', at, count * 4294967296 + digest(secret, previous, at))
end

