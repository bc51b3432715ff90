-- is_newer(a, b) -> whether message id a comes after b. A text that is not an id comes before all ids.
-- Compared as text: the parts of an id may be larger than Lua's numbers can represent exactly.
local function larger(one, other)
  if #one ~= #other then return #one > #other end
  return one > other
end
local function is_newer(a, b)
  local a_ms, a_sequence = string.match(a, '^(%d+)-(%d+)$')
  local b_ms, b_sequence = string.match(b, '^(%d+)-(%d+)$')
  if not a_ms or not b_ms then return a_ms ~= nil end
  if a_ms ~= b_ms then return larger(a_ms, b_ms) end
  return larger(a_sequence, b_sequence)
end

