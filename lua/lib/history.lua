-- history(stream, since, latest, most) -> messages oldest first, and '1' where there are more.
-- Without `since` ('') the `latest`, and more are older ones. With it the newest `most` after it,
-- and more are those between, be it that they did not fit or that they are no longer kept.
-- Needs: follows, newer.
local function history(stream, since, latest, most)
  local wanted = since == '' and latest or most
  local found = redis.call('XREVRANGE', stream, '+', since == '' and '-' or '(' .. since, 'COUNT', wanted + 1)
  local more = #found > wanted
  if more then found[#found] = nil end
  if since ~= '' and not more and #found > 0 then
    local kept = redis.call('XREVRANGE', stream, since, '-', 'COUNT', 1)
    local first = found[#found][1]
    -- A stream's very first message follows nothing: history began anew, none is missing.
    more = #kept == 0 and not follows(since, first) and not follows('0-0', first)
  end
  if since ~= '' and #found == 0 and redis.call('EXISTS', stream) == 1 then
    -- Nothing is kept: the stream still knows the last id that it ever had.
    local facts = redis.call('XINFO', 'STREAM', stream)
    for i = 1, #facts, 2 do
      if facts[i] == 'last-generated-id' then more = newer(facts[i + 1], since) end
    end
  end
  local messages = {}
  for i = #found, 1, -1 do messages[#messages + 1] = found[i] end
  return messages, more and '1' or '0'
end

