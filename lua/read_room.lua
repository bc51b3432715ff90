-- Reads a room, how many are in it and the first of them by name, without those who lapsed.
-- KEYS 4: 1 room, 2 members, 3 deadlines, 4 members by name
-- DERIVED from KEYS 1: bans
-- ARGV 2: 1 how far ahead a deadline can be (ms), 2 names wanted at most
-- RETURNS {'OK', the facts of the room as room_facts lists them, number of banned addresses, '1' if a sweep has
--          something to do else '0', number of members, names …} or {'ROOM_NOT_FOUND'}
-- PROMISE 4: nobody is shown who is not there. PROMISE 5: it writes nothing, so it runs where Redis
-- refuses to.
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
-- Behind those who lapsed there may be others; how far is looked has a limit.
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
