-- The field `slideAt` of a room's hash says when its TTLs have to be renewed next (ms), with a '+' before it if the room
-- has keys that most rooms do not have. slide_room writes it.
-- must_slide(slide_at, now_ms, usual) -> whether they have to be renewed now; `usual` is the lifetime of most rooms (ms).
-- may_have_more(slide_at) -> whether the room may have such keys.
local function must_slide(slide_at, now_ms, usual)
  local left = (tonumber(slide_at) or 0) - now_ms
  -- Not for longer than that, even if Redis's clock was set back.
  return not (left > 0 and left <= usual / 100)
end
local function may_have_more(slide_at)
  return not slide_at or string.byte(slide_at) == 43
end
