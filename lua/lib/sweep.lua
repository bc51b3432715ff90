-- sweep(room, now_ms) removes members whose deadline has passed, a limited number in each call, so
-- that no call blocks Redis for long. If there are more, the room needs another sweep at once.
-- Every script that changes members calls it, so no process has to poll. room.deadline_extension (optional, ms)
-- extends the deadlines after an outage in which heartbeats could not move them.
local SWEPT_AT_ONCE = 64

local function sweep(room, now_ms)
  local past = string.format('%d', now_ms - (room.deadline_extension or 0))
  local lapsed = redis.call('ZRANGEBYSCORE', room.deadlines, '-inf', past, 'LIMIT', '0', SWEPT_AT_ONCE)
  if #lapsed == 0 then return end
  -- Needs: sweep_in, remove_member.
  for _, user in ipairs(lapsed) do remove_member(room, user) end
  if #lapsed == SWEPT_AT_ONCE then sweep_in(room, 0) end
end

