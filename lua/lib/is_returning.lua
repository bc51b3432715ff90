-- is_returning(returning, presence_ttl) -> whether the members of a room return: `returning` is the key of that
-- note, which begin_return leaves. One that is to last longer is of a clock that was set back since, or of
-- somebody else.
local function is_returning(returning, presence_ttl)
  local left = redis.call('PTTL', returning)
  return left >= 0 and left <= math.ceil(presence_ttl / 2)
end
