-- What stands before `settle` and `dequeue`: how jobs leave the list of what a node holds.

local words = { ack = 2, requeue = 2, retry = 4, schedule = 4, dead = 6 }

-- How often each job is to be removed and no more, and how many jobs that are. One of which several things are to become is not among
-- them: of two settlements for one job, the first counts.
local function count_acks(first)
  local acked, others, count = {}, {}, 0
  each_job(words, first, function(at)
    local held = ARGV[at + 1]
    if ARGV[at] == 'ack' then
      acked[held] = (acked[held] or 0) + 1
      count = count + 1
    else
      others[held] = true
    end
    return true
  end)
  for held in pairs(others) do
    acked[held] = nil
  end
  return acked, count
end

-- Ends the stay of jobs in the list KEYS.inprogress of the queue NAME. What becomes of them is in ARGV from the word FIRST on, for at
-- most 100 of them:
--       "ack" HELD | "requeue" HELD | "retry" HELD SCORE JOB | "schedule" HELD SCORE JOB
--       | "dead" HELD SCORE JOB OLDEST_SCORE MAX_JOBS_PLUS_1
-- Answers for each job: 1 done, 2 done and merged with an equal member of the set, 0 not held, or the text
-- of an error after which the job is where it was; and how many went back to the queue. Or nil and an error, and then nothing was done.
--
-- Each job is added to its target before it is removed here. The first write is one that a full Redis allows; after it, so
-- are the others.
local function settle_jobs(keys, name, first)
  local inprogress = keys.inprogress
  local acked, acks = count_acks(first)
  local oldest, wrong = read('list', 'LRANGE', inprogress, -math.max(acks, 1), -1)
  if not oldest then
    return nil, wrong
  end

  -- Jobs end about in the order in which they were fetched: what is done is most often just the oldest part of the list, and
  -- that is cut off at once. What else is done is looked for job by job.
  local cut_off, count = {}, 0
  while #oldest > count do
    local held = oldest[#oldest - count]
    if (acked[held] or 0) == (cut_off[held] or 0) then
      break
    end
    cut_off[held] = (cut_off[held] or 0) + 1
    count = count + 1
  end
  local trimmed = redis.pcall('LTRIM', inprogress, 0, -1 - count)
  if trimmed.err then
    return nil, trimmed.err
  end

  -- Entries of the list that are as good as gone: they go to the front of the queue, all at once, at the end.
  local front, reserved = {}, {}

  -- What is wrong with a target, or false. Looked at once, before the first write to it.
  local looked_at = { ack = false }
  local function fault_of(target)
    if looked_at[target] == nil then
      looked_at[target] = check(keys[target], target == 'requeue' and 'list' or 'zset') or false
    end
    return looked_at[target]
  end

  local function is_held(held)
    return redis.call('LPOS', inprogress, held, 'RANK', -1 - (reserved[held] or 0))
  end

  local function settle(at)
    local target, held = ARGV[at], ARGV[at + 1]
    if target == 'ack' and (cut_off[held] or 0) > 0 then
      cut_off[held] = cut_off[held] - 1
      return DONE
    end
    if target == 'ack' and not reserved[held] then
      return redis.call('LREM', inprogress, -1, held)
    end
    if not is_held(held) then
      return NOT_HELD
    end
    local fault = fault_of(target)
    if fault then
      return fault
    end
    if target == 'requeue' then
      front[#front + 1] = held
      reserved[held] = (reserved[held] or 0) + 1
      return DONE
    end
    local answer = DONE
    if target ~= 'ack' then
      local refused
      answer, refused = add_to_set(keys[target], ARGV[at + 2], ARGV[at + 3])
      if refused then
        return refused
      end
      if target == 'dead' then
        cut_dead(keys.dead, ARGV[at + 4], ARGV[at + 5])
      end
    end
    redis.call('LREM', inprogress, -1, held)
    return answer
  end

  local answers = each_job(words, first, settle)
  if #front > 0 then
    local last_to_first = {}
    for i = #front, 1, -1 do
      last_to_first[#last_to_first + 1] = front[i]
    end
    redis.pcall('SADD', keys.queues, name)
    redis.call('RPUSH', keys.requeue, unpack(last_to_first))
    for _, held in ipairs(front) do
      redis.call('LREM', inprogress, -1, held)
    end
  end
  return answers, #front
end
