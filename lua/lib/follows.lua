-- follows(secret, previous, id) -> whether the entry `id` was written right after `previous`.
-- Needs: digest.
local function follows(secret, previous, id)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(sequence) % 4294967296 == digest(secret, previous, ms)
end

