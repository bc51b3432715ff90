-- last_generated_id(stream) -> the last id that the stream ever had, stored or not; '0-0' if there is no
-- stream.
local function last_generated_id(stream)
  if redis.call('EXISTS', stream) == 0 then return '0-0' end
  local facts = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #facts, 2 do
    if facts[i] == 'last-generated-id' then return facts[i + 1] end
  end
end

