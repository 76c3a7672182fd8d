-- Moves the oldest jobs of a queue to the list of what a node holds.
--
-- KEYS  1 queue:Q  2 inprogress:Q:NODE  3 verk:node:NODE  4 verk_nodes  5 verk:node:NODE:queues
--       6 paused  7 verk:prefetched:Q:NODE
-- ARGV  1 most jobs (1 to 100)  2 most bytes (at least one job is taken)  3 NODE  4 Q
--       5 how many of the newest jobs in KEYS[2] are not started if as many are taken as ARGV[1] says
-- Returns the payloads, oldest first; -1 and does nothing when the heartbeat of the node is gone; -2 and does
-- nothing when the queue is paused for all nodes.
--
-- Atomic, so that a job is in one of the two lists at any moment, and so that a node that was declared
-- dead takes nothing, and nobody takes from a queue that is paused: the checks and the move can't be
-- parted. The first write is one that a full Redis allows; after it, so are the others.

local PAGE = 20

local wrong = check(KEYS[1], 'list') or check(KEYS[2], 'list')
  or check(KEYS[4], 'set') or check(KEYS[5], 'set') or check(KEYS[6], 'set')
if wrong then
  return redis.error_reply(wrong)
end
if redis.call('EXISTS', KEYS[3]) == 0 then
  return -1
end
if redis.call('SISMEMBER', KEYS[6], ARGV[4]) == 1 then
  return -2
end

local first = redis.pcall('LTRIM', KEYS[1], 0, -1)
if first.err then
  return first
end
redis.call('SADD', KEYS[4], ARGV[3])
redis.call('SADD', KEYS[5], ARGV[4])

local max_jobs, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local jobs = {}
local full = false
while not full and #jobs < max_jobs do
  local last = -1 - #jobs
  local page = redis.call('LRANGE', KEYS[1], last - PAGE + 1, last)
  full = #page < PAGE
  for i = #page, 1, -1 do
    room = room - #page[i]
    if #jobs == max_jobs or (room < 0 and #jobs > 0) then
      full = true
      break
    end
    jobs[#jobs + 1] = page[i]
  end
end
if #jobs > 0 then
  redis.call('LPUSH', KEYS[2], unpack(jobs))
  redis.call('LTRIM', KEYS[1], 0, -1 - #jobs)
end

-- When there is none, one may still come while the node waits.
local prefetched = tonumber(ARGV[5]) - max_jobs + math.max(#jobs, 1)
if prefetched > 0 then
  redis.call('SET', KEYS[7], prefetched)
else
  redis.call('DEL', KEYS[7])
end
return jobs
