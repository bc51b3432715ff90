-- newest(stream) -> the last id that a stream which exists ever had, kept or not.
local function newest(stream)
  local facts = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #facts, 2 do
    if facts[i] == 'last-generated-id' then return facts[i + 1] end
  end
end

