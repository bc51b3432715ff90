-- Changes the settings of a room, for its creator.
-- KEYS 5: 1 room, 2 messages, 3 session of the token's user, 4 deadlines,
--         5 members by name
-- ARGV 6: 1 roomId, 2 the room's channel, 3 proof, 4 room TTL (ms) of a room that has none of its own,
--         5 a list: fields of the room's hash, each followed by its new value, or by '' for none, 6 a list:
--         what webhooks need, in the order of lua/lib/hooks.lua
-- RETURNS {'OK'}, {'ROOM_NOT_FOUND'}, {'FORBIDDEN'} for another user of the room, or {'INVALID_TOKEN'}
-- PUBLISHES room, if anything changed
-- PROMISE 11: a user who joins after the answer gets the room as it is now.
-- Needs: check_room, clock, hook, hooks, not_creator, publish_event, room_event, room_json, slide_room.
local room = {hash = KEYS[1], deadlines = KEYS[4], names = KEYS[5], id = ARGV[1], chan = ARGV[2], hooks = hooks(ARGV[6])}
local messages, session, proof, usual, fields = KEYS[2], KEYS[3], ARGV[3], ARGV[4], ARGV[5]

local refusal = not_creator(room.hash, session, proof)
if refusal then return {refusal} end
local now = clock()
check_room(room, now)

local lived, changed = lifetime(room.hash, usual), false
for i = 1, #fields, 2 do
  local field, value = fields[i], fields[i + 1]
  if (redis.call('HGET', room.hash, field) or '') ~= value then
    changed = true
    if value == '' then
      redis.call('HDEL', room.hash, field)
    else
      redis.call('HSET', room.hash, field, value)
    end
  end
end
if lifetime(room.hash, usual) ~= lived then slide_room(room.hash, messages, usual, tonumber(now)) end
if changed then
  publish_event(room, 'room', room_event(room.hash))
  if room.hooks then hook(room, 'room.updated', room_json(room)) end
end
return {'OK'}
