-- read_proof(proof) -> the hash of a token, and whether the creator's powers come with it. A proof is that hash, and
-- ':creator' behind it where a JWT gives these powers. src/names.rs writes it.
-- is_subject(token_hash) -> whether it is that of a user whom JWTs name: the hash of their `sub`, and ':sub'.
local function read_proof(proof)
  local token_hash = string.match(proof, '^(.*):creator$')
  return token_hash or proof, token_hash ~= nil
end
local function is_subject(token_hash)
  return string.sub(token_hash, -4) == ':sub'
end

