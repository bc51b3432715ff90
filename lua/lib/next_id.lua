-- next_id(secret, previous, now, now_ms, count) -> id of the entry that follows `previous`, its
-- millisecond, and the number of earlier entries of that millisecond. `now` is decimal text, now_ms the
-- same as a number; `count` is that of the previous entry, if the caller knows it.
-- The low 32 bits of its sequence number are a digest of the previous id, so that a node with the
-- previous message sees, without asking, whether one is missing in between. The bits above
-- count the messages of one millisecond; together they stay below 2^53, which Lua and browsers
-- represent exactly. Needs: digest.
local function next_id(secret, previous, now, now_ms, count)
  local dash = string.find(previous, '-', 1, true)
  local ms = string.sub(previous, 1, dash - 1)
  if ms ~= now and tonumber(ms) < now_ms then
    ms, count = now, 0
  else
    count = (count or math.floor(string.sub(previous, dash + 1) / 4294967296)) + 1
    if count >= 2097152 then ms, count = string.format('%.0f', ms + 1), 0 end
  end
  return string.format('%s-%d', ms, count * 4294967296 + digest(secret, previous, ms)), ms, count
end

