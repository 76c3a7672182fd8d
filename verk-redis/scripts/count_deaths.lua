-- Counts for each job, once, that a process died while it ran: that of a node.
--
-- KEYS  1 verk:node:NODE  2 verk:node:NODE:deaths  3 verk_nodes  4.. verk:deaths:JID, at most 100 of them
-- ARGV  1 how long deaths are remembered, in seconds  2 "last" if no more jobs of the node follow, else "more"  3 NODE
--       4.. the JIDs, in the order of the keys from 4
-- Returns every job that was counted for the node, each followed by how many deaths it has seen; nothing while the heartbeat of the
-- node is there, once it is off the list of nodes, and before the last call.
--
-- Atomic, so that two nodes that count at once, or one that counts again after a lost reply, count a job once. What was counted
-- stays in KEYS[2] until the node is off the list; after the last call, that is complete, and nothing is counted any more. The
-- first write is one that a full Redis allows; after it, so are the others. A counter that is no number does not count.

local COMPLETE = ''
local wrong = check(KEYS[2], 'hash') or check(KEYS[3], 'set')
if wrong then
  return redis.error_reply(wrong)
end
if redis.call('EXISTS', KEYS[1]) == 1 or redis.call('SISMEMBER', KEYS[3], ARGV[3]) == 0 then
  return {}
end

if redis.call('HEXISTS', KEYS[2], COMPLETE) == 0 then
  local first = redis.pcall('EXPIRE', KEYS[2], ARGV[1])
  if type(first) == 'table' then
    return first
  end
  for i = 4, #KEYS do
    if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 0 then
      local deaths = redis.pcall('INCR', KEYS[i])
      if type(deaths) == 'table' then
        deaths = 1
      else
        redis.call('EXPIRE', KEYS[i], ARGV[1])
      end
      redis.call('HSET', KEYS[2], ARGV[i], deaths)
    end
  end
  if ARGV[2] == 'last' then
    redis.call('HSET', KEYS[2], COMPLETE, 0)
  end
  redis.call('EXPIRE', KEYS[2], ARGV[1])
end
if ARGV[2] ~= 'last' then
  return {}
end
local counted = redis.call('HGETALL', KEYS[2])
for i = 1, #counted, 2 do
  if counted[i] == COMPLETE then
    counted[i], counted[i + 1] = counted[#counted - 1], counted[#counted]
    counted[#counted], counted[#counted - 1] = nil, nil
    break
  end
end
return counted
