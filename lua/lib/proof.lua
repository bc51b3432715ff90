-- read_proof(proof) -> the hash of a token, and whether it has the creator's powers. A proof is that hash, followed
-- by ':creator' if a JWT gives these powers. src/names.rs writes it.
-- is_subject(token_hash) -> whether it belongs to a user of a JWT: the hash of the `sub`, followed by ':sub'.
local function read_proof(proof)
  local token_hash = string.match(proof, '^(.*):creator$')
  return token_hash or proof, token_hash ~= nil
end
local function is_subject(token_hash)
  return string.sub(token_hash, -4) == ':sub'
end

