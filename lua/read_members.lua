-- Reads members of a room by name, without those who lapsed.
-- KEYS 6: 1 room, 2 members, 3 deadlines, 4 members by name, 5 away members, 6 session of the user whom the token
--         names
-- DERIVED from ARGV 1: session of the members read; from KEYS 1: bans
-- ARGV 7: 1 stem of the users' keys, 2 how far ahead a deadline can be (ms), 3 the name behind which to read, or
--         '', 4 members to look at, 5 proof or '', 6 address of who asks,
--         7 '1' where guests may read else '0'
-- RETURNS {'OK', '1' if a sweep has something to do else '0', the last name looked at, or '' where there are no
--          more, and for each member: name, 'online' or 'away', joinedAt (ms), last message id read or ''},
--          {'ROOM_NOT_FOUND'} or {'INVALID_TOKEN'} where reading takes a token
-- PROMISE 4: nobody is shown who is not there. PROMISE 5: it writes nothing, so it runs where Redis
-- refuses to.
-- Needs: away_members, clock, may_read, member_names, needs_sweep, user_key, without_lapsed.
local room = {hash = KEYS[1], members = KEYS[2], deadlines = KEYS[3], names = KEYS[4], away = KEYS[5],
  users = ARGV[1]}
local longest, after, wanted = ARGV[2], ARGV[3], tonumber(ARGV[4])

local refusal, created = may_read(room.hash, KEYS[6], ARGV[5], ARGV[6], ARGV[7])
if refusal then return {refusal} end

local now_ms = tonumber(clock())
local page = member_names(room, after, wanted)
local reply = {'OK', needs_sweep(room, now_ms, longest) and '1' or '0', #page == wanted and page[#page] or ''}
local members, is_away = without_lapsed(room, page, now_ms), {}
for _, user in ipairs(away_members(room, members)) do is_away[user] = true end
for _, user in ipairs(members) do
  -- If something else was written to the session's key, the member has no further data.
  local kept = redis.pcall('HMGET', user_key(room, user, 'session'), 'joinedAt', 'read')
  local at = #reply
  reply[at + 1], reply[at + 2] = user, is_away[user] and 'away' or 'online'
  reply[at + 3], reply[at + 4] = kept[1] or created, kept[2] or ''
end
return reply
