-- Settles jobs in the list of what a node holds: each leaves the list.
--
-- KEYS  1 inprogress:Q:NODE  2 queue:Q  3 queues  4 retry  5 schedule  6 dead
--       7, 8 (to restore the jobs of another node) verk:node:NODE: nothing happens while it exists
--       verk:restored:Q
--       then the keys of the effects, if there are any
-- ARGV  1 Q  2 for how many seconds no node prefetches from Q after jobs were restored to it; ""
--       for jobs of this node
--       3.. the settlements: see `settling.lua`
-- Returns the results; 0 if nothing was done because the node lives.
--
-- Atomic, so that an outcome counts only while the node holds the job, and so that a job is always
-- in some key.

local restores = ARGV[2] ~= ''
if restores and redis.call('EXISTS', KEYS[7]) == 1 then
  return NOT_HELD
end
local keys = {
  inprogress = KEYS[1], requeue = KEYS[2], queues = KEYS[3],
  retry = KEYS[4], schedule = KEYS[5], dead = KEYS[6],
}
local answers, went_back = settle_jobs(keys, ARGV[1], 3)
if not answers then
  return redis.error_reply(went_back)
end
if restores and went_back then
  redis.call('SET', KEYS[8], 1, 'EX', ARGV[2])
end
return answers
