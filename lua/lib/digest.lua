-- digest(previous, ms) -> 32 bits that tie an entry of that millisecond (decimal text) to the
-- entry before it. src/chain.rs computes the same.
local function digest(previous, ms)
  return tonumber(string.sub(redis.sha1hex(previous .. ' ' .. ms), 1, 8), 16)
end

