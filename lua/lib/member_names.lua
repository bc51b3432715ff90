-- member_names(room, after, most) -> at most `most` names of members after `after` ('' for all), in
-- code point order. O(log members + most).
local function member_names(room, after, most)
  local first = after == '' and '-' or '(' .. after
  return redis.call('ZRANGEBYLEX', room.names, first, '+', 'LIMIT', '0', most)
end

