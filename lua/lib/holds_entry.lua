-- holds_entry(ready, node, entry) -> whether this node has claimed that entry, and no other node
-- took it over.
local function holds_entry(ready, node, entry)
  local pending = redis.pcall('XPENDING', ready, 'nodes', entry, entry, '1')[1]
  return pending and pending[2] == node
end
