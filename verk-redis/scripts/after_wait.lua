-- Checks after a wait for a job whether the queue is paused, and whether the node could wait again.
--
-- KEYS  1 verk:node:NODE  2 verk_nodes  3 verk:node:NODE:queues  4 paused
-- ARGV  1 NODE  2 Q
-- Returns -2 if the queue is paused for all nodes; 1 if the node is registered for the queue, so
-- that `dequeue` would change nothing but the lists of jobs; else 0.
--
-- Runs in the pipeline of each wait, and delays the job that ended it. So it only reads, and leaves
-- the rest to `dequeue`: a script, because an idle node then sends one request less for each wait.
-- Pauses come first: they are checked for each job that arrives.

local PAUSED, IN_ORDER, NOT_IN_ORDER = -2, 1, 0

if redis.call('SISMEMBER', KEYS[4], ARGV[2]) == 1 then
  return PAUSED
end
local function has(key, member)
  return redis.pcall('SISMEMBER', key, member) == 1
end
if redis.call('EXISTS', KEYS[1]) == 1 and has(KEYS[2], ARGV[1]) and has(KEYS[3], ARGV[2]) then
  return IN_ORDER
end
return NOT_IN_ORDER
