-- digest(secret, previous, ms) -> 32 bits that tie an entry of that millisecond (decimal text) to
-- the entry before it. The room's secret keeps others from making up an id that fits.
-- src/chain.rs computes the same.
local function digest(secret, previous, ms)
  return tonumber(string.sub(redis.sha1hex(secret .. ' ' .. previous .. ' ' .. ms), 1, 8), 16)
end

