-- holds_entry(ready, node, entry) -> whether this node has taken that entry, and nobody else took it over.
local function holds_entry(ready, node, entry)
  local pending = redis.pcall('XPENDING', ready, 'nodes', entry, entry, '1')[1]
  return pending and pending[2] == node
end
