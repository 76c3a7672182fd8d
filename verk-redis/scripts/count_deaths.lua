-- Counts for each job, once, that the process of a node died while the job ran.
--
-- KEYS  1 verk:node:NODE  2 verk:node:NODE:deaths  3 verk_nodes
--       4.. verk:deaths:JID, at most 100 of them
-- ARGV  1 how long deaths are remembered, in seconds  2 "last" if no more jobs of the node follow,
--       else "more"  3 NODE  4.. the JIDs, in the order of the keys from 4
-- Returns all jobs that were counted for the node, each followed by its number of deaths. Returns
-- nothing before the last call, while the heartbeat of the node exists, and once the node is off
-- the list of nodes.
--
-- Atomic, so that a job is counted once, also if two nodes count at once, or one counts again after
-- a lost reply. The counted jobs stay in KEYS[2] until the node is off the list. After the last
-- call KEYS[2] is complete, and nothing more is counted. The first write is a command that a full
-- Redis allows. After it, Redis allows all others. A counter that is not a number does not count.

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
