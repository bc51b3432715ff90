-- sent_message(messages, stored, user, text, token_hash) -> the outcome for an idempotency key that was used:
-- 'REPEAT', the id and the text of the earlier message, which is the retry's if the message was trimmed meanwhile;
-- 'DELETED' and its id; 'FAILED' and why; nothing if an earlier user of the name sent it. `stored` is what the key
-- holds, `token_hash` that of the sender's session, or false. Needs: author.
local function sent_message(messages, stored, user, text, token_hash)
  local gone = string.match(stored, '^(%d+%-%d+) deleted$')
  if gone then return 'DELETED', gone end
  local found = string.find(stored, '^%d+%-%d+$') and redis.pcall('XRANGE', messages, stored, stored)
  local fields = found and not found.err and (found[1] and found[1][2] or {'from', user, 'text', text})
  if not fields or fields[1] ~= 'from' or fields[2] ~= user or not fields[4] then
    return 'FAILED', 'a key that holds no message of its user'
  end
  if fields[5] == 'by' and fields[6] ~= author(token_hash or '') then return nil end
  return 'REPEAT', stored, fields[4]
end
