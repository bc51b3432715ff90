-- Reads one page of a room's messages.
-- KEYS 3: 1 room, 2 messages, 3 session of the token's user
-- DERIVED from KEYS 1: deleted, bans
-- ARGV 6: 1 'before' or 'after', 2 a message id, or '+' with 'before' for the newest page,
--         3 messages wanted, 4 proof or '', 5 address of the client,
--         6 '1' if guests may read else '0'
-- RETURNS {'OK', '1' if there are more in that direction else '0', messages oldest first, as read_entries
--          returns them, in MessagePack}, {'ROOM_NOT_FOUND'}, or {'INVALID_TOKEN'} if reading needs a token
-- PROMISE 2: the ids are the cursor, so pages neither overlap nor skip.
-- Needs: may_read, read_entries, room_key.
local room, messages, deleted = KEYS[1], KEYS[2], room_key(KEYS[1], 'deleted')
local way, from, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3])

local refusal = may_read(room, KEYS[3], ARGV[4], ARGV[5], ARGV[6])
if refusal then return {refusal} end

-- Redis rejects a range that begins after the last possible id, or ends before the first.
local first, last = '0-0', '18446744073709551615-18446744073709551615'
local found = {}
if way == 'after' and from ~= last then
  found = read_entries(deleted, messages, 'XRANGE', '(' .. from, '+', wanted + 1)
elseif way == 'before' and from ~= first then
  local newest = from == '+' and '+' or '(' .. from
  found = read_entries(deleted, messages, 'XREVRANGE', newest, '-', wanted + 1)
end
local more = #found > wanted
if more then found[#found] = nil end
if way == 'before' then
  for i = 1, math.floor(#found / 2) do
    found[i], found[#found + 1 - i] = found[#found + 1 - i], found[i]
  end
end
return {'OK', more and '1' or '0', cmsgpack.pack(found)}
