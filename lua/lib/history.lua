-- history(secret, stream, since, latest, most) -> messages oldest first, and '1' where there are more.
-- Without `since` ('') the `latest`, and more are older ones. With it the newest `most` after it,
-- and more are those between, be it that they did not fit or that they are no longer kept.
-- Needs: follows, newer, newest.
local history
function history(secret, stream, since, latest, most)
  if redis.call('EXISTS', stream) == 0 then return {}, '0' end
  if since ~= '' and newer(since, newest(stream)) then
    -- Not an id of this stream: Redis lost that message, or somebody made it up.
    local messages = history(secret, stream, '', latest, most)
    return messages, #messages > 0 and '1' or '0'
  end
  local wanted = since == '' and latest or most
  local found = redis.call('XREVRANGE', stream, '+', since == '' and '-' or '(' .. since, 'COUNT', wanted + 1)
  local more = #found > wanted
  if more then found[#found] = nil end
  if since ~= '' and not more and #found > 0 then
    local kept = redis.call('XREVRANGE', stream, since, '-', 'COUNT', 1)
    local first = found[#found][1]
    -- A stream's very first message follows nothing: history began anew, none is missing.
    more = #kept == 0 and not follows(secret, since, first)
      and not follows(secret, '0-0', first)
  end
  if since ~= '' and #found == 0 then
    more = newer(newest(stream), since)
  end
  local messages = {}
  for i = #found, 1, -1 do messages[#messages + 1] = found[i] end
  return messages, more and '1' or '0'
end

