-- read_history(room, secret, at, since, latest, most, bytes) -> messages, oldest first, and '1' if there
-- are more. `at` is the last message. Without `since` ('') the `latest` newest; more are older ones. With
-- it the newest `most` after it; more are those in between, which did not fit or are no longer stored. In
-- both cases the newest that fit into `bytes`. Needs: follows, is_newer, last_generated_id, read_entries, read_newest.
local read_history
function read_history(room, secret, at, since, latest, most, bytes)
  local function latest_of_all()
    local messages = read_history(room, secret, at, '', latest, most, bytes)
    return messages, #messages > 0 and '1' or '0'
  end
  -- Not an id of this stream: Redis lost that message, or the client invented it.
  if since ~= '' and is_newer(since, at) and is_newer(since, last_generated_id(room.messages)) then return latest_of_all() end
  local wanted = since == '' and latest or most
  local found, more = read_newest(room, since, wanted, bytes)
  if since ~= '' and not more and #found > 0 and not follows(secret, since, found[#found][1]) then
    local before = read_entries(room.deleted, room.messages, 'XREVRANGE', since, '-', 1)[1]
    -- Older messages are stored, but not this one: the client invented the id, or the entry was
    -- deleted. The client may lack what came before it.
    if before and before[1] ~= since then return latest_of_all() end
    -- The first message of a stream follows none: history began again, and nothing is missing.
    more = not before and not follows(secret, '0-0', found[#found][1])
  end
  if since ~= '' and since ~= at and #found == 0 and not more then
    more = is_newer(last_generated_id(room.messages), since)
  end
  local messages = {}
  for i = #found, 1, -1 do messages[#messages + 1] = found[i] end
  return messages, more and '1' or '0'
end

