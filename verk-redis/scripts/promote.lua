-- Moves due jobs out of a sorted set.
--
-- KEYS  1 schedule or retry  2 dead  3 queues  4.. the queues that jobs go to
-- ARGV  1 now, then for each job, at most 100 of them:
--       "queue" HELD INDEX_IN_KEYS Q JOB | "dead" HELD SCORE JOB OLDEST_SCORE MAX_JOBS
-- Returns for each job: 1 done, 2 done and merged with an equal member of the dead set, 0 not there or not
-- due, or the text of an error after which the job is where it was.
--
-- Atomic, so that of many nodes one moves a job, and so that a job is never in no key at all: each is added
-- to its target before it is removed here. The first write is one that a full Redis allows; after it, so
-- are the others.

local set, dead = KEYS[1], KEYS[2]
local words = { queue = 5, dead = 6 }

local wrong = check(set, 'zset')
if wrong then
  return redis.error_reply(wrong)
end
local unusable = { [dead] = check(dead, 'zset') }
for i = 4, #KEYS do
  unusable[KEYS[i]] = check(KEYS[i], 'list')
end
local now = tonumber(ARGV[1])

local first = redis.pcall('ZREMRANGEBYRANK', set, 1, 0)
if type(first) == 'table' then
  return first
end

local function promote(at)
  local held = ARGV[at + 1]
  local score = redis.call('ZSCORE', set, held)
  if not score or tonumber(score) > now then
    return NOT_HELD
  end
  local answer = DONE
  if ARGV[at] == 'queue' then
    local queue = KEYS[tonumber(ARGV[at + 2])]
    if unusable[queue] then
      return unusable[queue]
    end
    redis.pcall('SADD', KEYS[3], ARGV[at + 3])
    redis.call('LPUSH', queue, ARGV[at + 4])
  else
    if unusable[dead] then
      return unusable[dead]
    end
    local refused
    answer, refused = add_to_set(dead, ARGV[at + 2], ARGV[at + 3])
    if refused then
      return refused
    end
    cut_dead(dead, ARGV[at + 4], ARGV[at + 5], MAX_CUT_BY_DEATH)
  end
  redis.call('ZREM', set, held)
  return answer
end

return each_job(words, 2, promote)
