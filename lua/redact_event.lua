-- Goes on with removing the text of a deleted message from the events that wait, where delete_message did not look
-- through all of them: some in each call, which may not keep Redis for long.
-- KEYS 2: 1 events of the room, 2 dead letters
-- ARGV 4: 1 roomId, 2 message id, 3 who said it, 4 where the call before stopped
-- RETURNS {'OK', where this one stopped, or '' where nothing is left to look through}
-- PROMISE 11: the text is gone from Redis when the deletion is answered.
-- Needs: check_hooks, redact_event.
local to, room = {events = KEYS[1], dead = KEYS[2]}, {id = ARGV[1]}

check_hooks(to)
return {'OK', redact_event(room, to, ARGV[2], ARGV[3], ARGV[4])}
