-- fence(room, channel, tag, at) publishes a fence to one node, in order with the room's events on its
-- subscription: the last message id and the number of events. `tag` is that of a join, or '@' and the
-- number of a heartbeat. It takes room.events as set. Needs: publish.
local function fence(room, channel, tag, at)
  local events = room.events or '0'
  publish(channel, room.id .. ' ' .. tag .. ' ' .. at .. ' ' .. events)
  return events
end

