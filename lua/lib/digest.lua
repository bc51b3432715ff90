-- digest(secret, previous, ms) -> 32 bits that link an entry of that millisecond (decimal text) to
-- the entry before it. The room's secret prevents others from inventing an id that matches.
-- src/chain.rs computes the same.
local function digest(secret, previous, ms)
  return tonumber(string.sub(redis.sha1hex(secret .. ' ' .. previous .. ' ' .. ms), 1, 8), 16)
end

