-- Asks whether the scripts may do what they need, and whether what is published comes back. It
-- writes nothing: Redis refuses it all the same wherever it refuses to write.
-- KEYS 0
-- ARGV 6: 1 a room's key, 2 stem of its users' keys, 3 its channel, 4 this node's channel, 5 the
--         word to publish there, 6 a command that this node needs besides, or ''
-- RETURNS {'OK', Redis's version}, or {'DENIED', Redis's version, and for each thing that this user
--         may not do: the command, the key or channel that it is about, Redis's words}
-- PUBLISHES the word to the node, where nothing is denied
-- PROMISE 5: a node that may not do all it needs says so, and begins nothing that it cannot finish.
local room, user, chan, node, word, besides = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

-- On Redis Cluster, where a room's group stands in braces, channels are sharded.
local s = string.find(chan, '{', 1, true) and 'S' or ''
local PUBLISH, SUBSCRIBE, UNSUBSCRIBE = s .. 'PUBLISH', s .. 'SUBSCRIBE', s .. 'UNSUBSCRIBE'
local needs = {
  -- What the node asks for by itself.
  {'EVALSHA', '', '0'}, {'SCRIPT', 'LOAD', ''}, {'PING'}, {SUBSCRIBE, chan}, {SUBSCRIBE, node}, {UNSUBSCRIBE, chan},
  -- What scripts ask for.
  {'TIME'}, {PUBLISH, chan, ''}, {PUBLISH, node, ''},
  {'EXISTS', room}, {'PEXPIRE', room, '1'}, {'PTTL', room}, {'DEL', user}, {'UNLINK', user},
  {'HGET', room, ''}, {'HEXISTS', user, ''}, {'HGETALL', user}, {'HKEYS', user}, {'HLEN', user},
  {'HRANDFIELD', room, '1'},
  {'HMGET', room, ''}, {'HDEL', user, ''}, {'RENAME', user, user},
  {'HINCRBY', room, '', '1'}, {'HSET', room, '', ''}, {'HSETNX', room, '', ''},
  {'GET', user}, {'SET', user, ''},
  {'SADD', room, ''}, {'SCARD', room}, {'SPOP', room, '1'}, {'SISMEMBER', room, ''}, {'SMEMBERS', room},
  {'SMISMEMBER', room, ''}, {'SRANDMEMBER', room, '1'}, {'SREM', room, ''},
  {'ZADD', room, '0', ''}, {'ZCARD', room}, {'ZCOUNT', room, '0', '0'}, {'ZMSCORE', room, ''},
  {'ZRANGE', room, '0', '0'}, {'ZRANGEBYLEX', room, '-', '+'}, {'ZRANGEBYSCORE', room, '0', '0'},
  {'ZREM', room, ''}, {'ZREMRANGEBYLEX', room, '-', '+'}, {'ZREMRANGEBYRANK', room, '0', '0'},
  {'ZREVRANGEBYLEX', room, '+', '-'}, {'ZREVRANGEBYSCORE', room, '0', '0'}, {'ZSCORE', room, ''},
  {'ZUNIONSTORE', room, '1', room},
  {'XADD', room, '*', '', ''}, {'XDEL', room, '0-0'}, {'XTRIM', room, 'MAXLEN', '0'},
  {'XINFO', 'STREAM', room}, {'XRANGE', room, '-', '+'},
  {'XREAD', 'STREAMS', room, '0'}, {'XREVRANGE', room, '+', '-'}, {'OBJECT', 'ENCODING', room},
  -- Commands for webhooks.
  {'LINDEX', room, '0'}, {'LLEN', room}, {'LPOP', room}, {'LRANGE', room, '0', '0'}, {'LSET', room, '0', ''}, {'RPUSH', room, ''}, {'ZRANGE', room, '0', '0'},
  {'XACK', room, '', '0-0'}, {'XAUTOCLAIM', room, '', '', '0', '0-0'}, {'XCLAIM', room, '', '', '0', '0-0'},
  {'XDEL', room, '0-0'}, {'XGROUP', 'CREATE', room, '', '0'}, {'XLEN', room}, {'XPENDING', room, ''},
  {'XREADGROUP', 'GROUP', '', '', 'STREAMS', room, '>'}, {'XTRIM', room, 'MAXLEN', '0'},
}
if s ~= '' then
  needs[#needs + 1] = {'CLUSTER', 'NODES'}
end
if besides ~= '' then needs[#needs + 1] = {besides, '0', '0', '0'} end

local function may(need)
  -- It fails for a command that this Redis does not know.
  local known, allowed = pcall(redis.acl_check_cmd, unpack(need))
  return not known or allowed
end

local subcommands = {SCRIPT = 'SCRIPT|LOAD', CLUSTER = 'CLUSTER|NODES', XINFO = 'XINFO|STREAM', OBJECT = 'OBJECT|ENCODING', XGROUP = 'XGROUP|CREATE'}
-- Position of the key in these; in all others it is the first argument.
local key_at = {SCRIPT = 3, XINFO = 3, OBJECT = 3, XREAD = 3, XGROUP = 3, XREADGROUP = 6}
local reply = {'OK', redis.REDIS_VERSION}
for _, need in ipairs(needs) do
  if not may(need) then
    local about = need[key_at[need[1]] or 2] or ''
    local is_told = need[1] == SUBSCRIBE and not may({PUBLISH, about, ''})
    if not is_told then
      -- The command is not run: Redis returns the reason.
      local refusal = redis.pcall(unpack(need))
      local at = #reply
      reply[1] = 'DENIED'
      reply[at + 1], reply[at + 2] = subcommands[need[1]] or need[1], about
      reply[at + 3] = refusal.err or ''
    end
  end
end
-- One call has keys of the room and of its users, so one ACL rule must allow both.
if reply[1] == 'OK' and not may({'EVALSHA', '', '2', room, user}) then
  local words = 'No permissions to access a key by the same rule as another'
  reply = {'DENIED', redis.REDIS_VERSION, 'EVALSHA', room, words, 'EVALSHA', user, words}
end
if reply[1] == 'OK' then redis.call(PUBLISH, node, word) end
return reply
