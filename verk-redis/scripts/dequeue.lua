-- Settles jobs in the list of what a node holds, then moves the oldest jobs of the queue there.
--
-- KEYS  1 queue:Q  2 inprogress:Q:NODE  3 verk:node:NODE  4 verk_nodes  5 verk:node:NODE:queues
--       6 paused  7 verk:prefetched:Q:NODE  8 verk:restored:Q
--       9 to 12 (if there is something to settle) queues  retry  schedule  dead
--       13.. the keys of the effects, if there are any
-- ARGV  1 most jobs (0 to 100)  2 most bytes (at least one job is taken)  3 NODE  4 Q
--       5 how many of the newest jobs in KEYS[2] are not started, if ARGV[1] jobs are taken
--       6 how many jobs to read at first (at least 1)
--       7.. the settlements: see `settling.lua`
-- Returns two values. The first is the results of the settlements. The second is the payloads of
-- the taken jobs, oldest first; or -1 if none was taken because the heartbeat of the node is gone;
-- or -2 if the queue is paused for all nodes; or the text of an error.
--
-- Atomic, so that a job is in one of the lists at any moment, and so that the checks still hold
-- when the jobs move: a node that was declared dead takes nothing, and no node takes from a paused
-- queue. The first write is a command that a full Redis allows. After it, Redis allows all others.

local NODE_GONE, PAUSED = -1, -2
-- Seconds: as long as a death is remembered. A node of another program that restores this one does
-- not know KEYS[7].
local PREFETCHED_LASTS = 72 * 60 * 60
local MOST = 64

local queue, inprogress = KEYS[1], KEYS[2]
local settles = #ARGV > 6
local answers = {}
if settles then
  local wrong
  answers, wrong = settle_jobs({
    inprogress = inprogress, requeue = queue, queues = KEYS[9],
    retry = KEYS[10], schedule = KEYS[11], dead = KEYS[12],
  }, ARGV[4], 7)
  if not answers then
    return redis.error_reply(wrong)
  end
end

-- The oldest jobs of the queue that fit, oldest first. A payload that is read and not taken costs
-- as much as one that is taken, and blocks the server as long. So:
-- 1. The first page has as many jobs as the caller expects to fit. Then pages of 1, 2, 4, ... jobs
--    are read.
-- 2. Nothing more is taken when less room is left than a taken job needs on average. Before half of
--    the room is used, that cannot be, and nothing is calculated.
local function oldest(max_jobs, max_bytes, page_size)
  local jobs, room, half = {}, max_bytes, max_bytes / 2
  local more = 1
  while #jobs < max_jobs do
    local last = -1 - #jobs
    page_size = math.min(page_size, max_jobs - #jobs)
    local page, wrong = read('list', 'LRANGE', queue, last - page_size + 1, last)
    if not page then
      return nil, wrong
    end
    for i = #page, 1, -1 do
      room = room - #page[i]
      if room >= half then
        jobs[#jobs + 1] = page[i]
      else
        if room < 0 and #jobs > 0 then
          return jobs
        end
        jobs[#jobs + 1] = page[i]
        if room * #jobs < max_bytes - room then
          return jobs
        end
      end
    end
    if #page < page_size then
      break
    end
    page_size, more = more, math.min(2 * more, MOST)
  end
  return jobs
end

local function take()
  if redis.call('EXISTS', KEYS[3]) == 0 then
    return NODE_GONE
  end
  local paused, wrong = read('set', 'SISMEMBER', KEYS[6], ARGV[4])
  if wrong then
    return wrong
  end
  if paused == 1 then
    return PAUSED
  end
  local is_node, has_queue
  is_node, wrong = read('set', 'SISMEMBER', KEYS[4], ARGV[3])
  if wrong then
    return wrong
  end
  has_queue, wrong = read('set', 'SISMEMBER', KEYS[5], ARGV[4])
  if wrong then
    return wrong
  end

  -- While jobs of a dead node are recent in this queue, each job that is fetched is started at
  -- once. So a job that kills its process is known to have been started.
  local max_jobs, prefetched = tonumber(ARGV[1]), tonumber(ARGV[5])
  if prefetched > 0 and redis.call('EXISTS', KEYS[8]) == 1 then
    local started_at_once = math.max(max_jobs - prefetched, 0)
    prefetched = prefetched - (max_jobs - started_at_once)
    max_jobs = started_at_once
  end
  local jobs
  jobs, wrong = oldest(max_jobs, tonumber(ARGV[2]), tonumber(ARGV[6]))
  if wrong then
    return wrong
  end

  if not settles then
    wrong = check(inprogress, 'list')
    if wrong then
      return wrong
    end
    redis.call('LTRIM', inprogress, 0, -1)
  end
  if is_node == 0 then
    redis.call('SADD', KEYS[4], ARGV[3])
  end
  if has_queue == 0 then
    redis.call('SADD', KEYS[5], ARGV[4])
  end
  if #jobs > 0 then
    redis.call('LPUSH', inprogress, unpack(jobs))
    redis.call('LTRIM', queue, 0, -1 - #jobs)
  end

  -- If there is none, one may still arrive while the node waits.
  prefetched = prefetched - max_jobs + math.min(math.max(#jobs, 1), max_jobs)
  if prefetched > 0 then
    redis.call('SET', KEYS[7], prefetched, 'EX', PREFETCHED_LASTS)
  else
    redis.call('DEL', KEYS[7])
  end
  return jobs
end

local taken = take()
if type(taken) == 'string' and not settles then
  return redis.error_reply(taken)
end
return { answers, taken }
