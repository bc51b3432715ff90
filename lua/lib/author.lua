-- author(token_hash) -> what a stream entry stores to identify the session of its author: enough of
-- the token's hash to distinguish it from a later user of the same name.
local function author(token_hash)
  return string.sub(token_hash, 1, 16)
end

