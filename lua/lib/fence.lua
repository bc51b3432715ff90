-- fence(room, channel, tag, at) tells one node, in order with the room's events on its one
-- subscription, how far the room had come: the last message id and the number of events.
-- `tag` says what the fence is for: one join of one connection, or '@' and the number of a
-- heartbeat. room.events has to be known.
local function fence(room, channel, tag, at)
  local events = room.events or '0'
  redis.pcall('PUBLISH', channel, room.id .. ' ' .. tag .. ' ' .. at .. ' ' .. events)
  return events
end

