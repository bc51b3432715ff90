-- author(token_hash) -> what an entry of the stream says of the session that said it: enough of its token's hash
-- to tell it from who has the name later.
local function author(token_hash)
  return string.sub(token_hash, 1, 16)
end

