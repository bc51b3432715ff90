-- Reads a room, its number of members and the first of them by name, without lapsed ones.
-- KEYS 4: 1 room, 2 members, 3 deadlines, 4 members by name
-- DERIVED from KEYS 1: bans
-- ARGV 2: 1 how far ahead a deadline can be (ms), 2 maximum number of names
-- RETURNS {'OK', the facts of the room in the order of room_facts, number of banned addresses, '1' if it needs a
--          sweep else '0', number of members, names …} or {'ROOM_NOT_FOUND'}
-- PROMISE 4: it shows no member that has lapsed. PROMISE 5: it writes nothing, so it runs while Redis
-- refuses to write.
-- Needs: clock, member_names, needs_sweep, room_facts, room_key, without_lapsed.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3], names = KEYS[4]}
local longest, wanted = ARGV[1], tonumber(ARGV[2])

local facts = room_facts(room.hash)
if not facts then return {'ROOM_NOT_FOUND'} end

local now_ms = tonumber(clock())
local count = math.max(redis.call('SCARD', room.members) - redis.call('ZCOUNT', room.deadlines, '-inf', now_ms), 0)
local reply = {'OK', unpack(facts)}
local at = #reply
reply[at + 1] = string.format('%d', redis.call('ZCARD', room_key(room.hash, 'bans')))
reply[at + 2] = needs_sweep(room, now_ms, longest) and '1' or '0'
reply[at + 3] = string.format('%d', count)
-- Live members may follow the lapsed ones in a page, so it reads further pages, a limited number of
-- them.
local after, looks, found = '', 0, {}
repeat
  local page = member_names(room, after, wanted)
  for _, user in ipairs(without_lapsed(room, page, now_ms)) do
    if #found < wanted then found[#found + 1] = user end
  end
  after, looks = page[#page], looks + 1
until #page < wanted or #found == wanted or looks == 5
for i, user in ipairs(found) do reply[at + 3 + i] = user end
return reply
