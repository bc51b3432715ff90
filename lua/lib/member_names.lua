-- member_names(room, after, most) -> names of members behind `after` ('' for all), in code point order, at most
-- so many. O(log members + most).
local function member_names(room, after, most)
  local first = after == '' and '-' or '(' .. after
  return redis.call('ZRANGEBYLEX', room.names, first, '+', 'LIMIT', '0', most)
end

