-- Takes a node off the list of nodes, unless it still holds a job.
--
-- KEYS  1 verk:node:NODE  2 verk_nodes  3 verk:node:NODE:queues  4 verk:name:NAME
--       5 verk:node:NODE:stats  6 verk:node:NODE:deaths  7 verk:schedule_manager
--       8.. the inprogress lists of the queues in 3, then their verk:prefetched:Q:NODE
--       the last: verk:node:NODE:info
-- ARGV  1 NODE  2.. the queues in 3, in the order of the keys from 8
-- Returns 1 if the node is off the list, 0 if one of its lists holds a job, -1 if the node has
-- other queues than those given (read them again).
--
-- Atomic, so that no job is fetched between the check of the lists and the end of the registration:
-- once the node is off the list of nodes, no other node restores its jobs.

if redis.call('SCARD', KEYS[3]) ~= #ARGV - 1 then
  return -1
end
for i = 2, #ARGV do
  if redis.call('SISMEMBER', KEYS[3], ARGV[i]) == 0 then
    return -1
  end
end
local lists_end = 6 + #ARGV
for i = 8, lists_end do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    return 0
  end
end

redis.call('SREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1], KEYS[3], KEYS[5], KEYS[6])
for i = lists_end + 1, #KEYS do
  redis.call('DEL', KEYS[i])
end
for _, held in ipairs({ KEYS[4], KEYS[7] }) do
  if redis.call('TYPE', held).ok == 'string' and redis.call('GET', held) == ARGV[1] then
    redis.call('DEL', held)
  end
end
return 1
