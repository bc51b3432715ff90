-- Reads dead letters, oldest first, page by page.
-- KEYS 1: 1 dead letters
-- ARGV 2: 1 where the page begins: '-', or '(' and the entry before it, 2 letters wanted
-- RETURNS {'OK', and for each: its entry, id, type, roomId, time (ms), tries, reason, data}
-- PROMISE 12: what cannot be delivered is kept where an operator finds it.
local dead, first, wanted = KEYS[1], ARGV[1], ARGV[2]

local reply = {'OK'}
for _, entry in ipairs(redis.call('XRANGE', dead, first, '+', 'COUNT', wanted)) do
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  reply[#reply + 1] = entry[1]
  for _, name in ipairs({'id', 'type', 'room', 'time', 'tries', 'reason', 'data'}) do
    reply[#reply + 1] = fields[name] or ''
  end
end
return reply
