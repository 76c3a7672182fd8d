-- Ends the stay of jobs in the list of what a node holds.
--
-- KEYS  1 inprogress:Q:NODE  2 queue:Q  3 queues  4 retry  5 schedule  6 dead
--       7 (to restore the jobs of another node) verk:node:NODE: nothing is done while it exists
-- ARGV  1 Q, then for each job, at most 100 of them:
--       "ack" HELD | "requeue" HELD | "retry" HELD SCORE JOB | "schedule" HELD SCORE JOB
--       | "dead" HELD SCORE JOB OLDEST_SCORE MAX_JOBS_PLUS_1
-- Returns for each job: 1 done, 2 done and merged with an equal member of the set, 0 not held, or the text
-- of an error after which the job is where it was.
--
-- Atomic, so that an outcome counts only while the node holds the job, and so that a job is never in no
-- key at all: each is added to its target before it is removed here. The first write is one that a full
-- Redis allows; after it, so are the others.

local inprogress, queue = KEYS[1], KEYS[2]
local sets = { retry = KEYS[4], schedule = KEYS[5], dead = KEYS[6] }
local words = { ack = 2, requeue = 2, retry = 4, schedule = 4, dead = 6 }

local wrong = check(inprogress, 'list')
if wrong then
  return redis.error_reply(wrong)
end
local guarded = KEYS[7] and redis.call('EXISTS', KEYS[7]) == 1

local first = redis.pcall('LTRIM', inprogress, 0, -1)
if first.err then
  return first
end

-- Entries of the list that are as good as gone: they go to the front of the queue, all at once, at the end.
local front, reserved = {}, {}

-- What is wrong with a target, or false. Looked at once, before the first write to it.
local looked_at = { ack = false }
local function fault_of(name)
  if looked_at[name] == nil then
    if name == 'requeue' then
      looked_at[name] = check(queue, 'list') or false
    else
      looked_at[name] = check(sets[name], 'zset') or false
    end
  end
  return looked_at[name]
end

local function is_held(held)
  return redis.call('LPOS', inprogress, held, 'RANK', -1 - (reserved[held] or 0))
end

local function settle(at)
  local name, held = ARGV[at], ARGV[at + 1]
  if name == 'ack' and not reserved[held] then
    return redis.call('LREM', inprogress, -1, held)
  end
  if not is_held(held) then
    return NOT_HELD
  end
  local fault = fault_of(name)
  if fault then
    return fault
  end
  if name == 'requeue' then
    front[#front + 1] = held
    reserved[held] = (reserved[held] or 0) + 1
    return DONE
  end
  local answer = DONE
  if name ~= 'ack' then
    local refused
    answer, refused = add_to_set(sets[name], ARGV[at + 2], ARGV[at + 3])
    if refused then
      return refused
    end
    if name == 'dead' then
      cut_dead(sets.dead, ARGV[at + 4], ARGV[at + 5])
    end
  end
  redis.call('LREM', inprogress, -1, held)
  return answer
end

local answers = each_job(words, function(at)
  return guarded and NOT_HELD or settle(at)
end)

if #front > 0 then
  local last_to_first = {}
  for i = #front, 1, -1 do
    last_to_first[#last_to_first + 1] = front[i]
  end
  redis.pcall('SADD', KEYS[3], ARGV[1])
  redis.call('RPUSH', queue, unpack(last_to_first))
  for _, held in ipairs(front) do
    redis.call('LREM', inprogress, -1, held)
  end
end
return answers
