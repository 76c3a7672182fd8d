-- Comes before `settle` and `dequeue`, after `effects`: how jobs leave the list of what a node
-- holds.
--
-- ARGV has the effects of the jobs, if there are any, and then the settlements of at most 100 jobs:
-- the word "acks" or "remove" and every HELD, if all of them are done; else for each
--       "ack" HELD | "requeue" HELD | "retry" HELD SCORE JOB | "schedule" HELD SCORE JOB
--       | "dead" HELD SCORE JOB OLDEST_SCORE MAX_JOBS
--
-- A job is added to its target before it is removed here. The first write is a command that a full
-- Redis allows. After it, Redis allows all others.

local words = { ack = 2, requeue = 2, retry = 4, schedule = 4, dead = 6 }

-- All jobs from the word FIRST on are done. Jobs end about in the order in which they were fetched,
-- so most often they are the oldest of the list, and one command cuts them off.
local function ack_jobs(inprogress, first)
  local count = #ARGV - first + 1
  local held, wrong = read('list', 'LRANGE', inprogress, -count, -1)
  if not held then
    return nil, wrong
  end
  local oldest, cut_off = #held, 0
  while cut_off < count and held[oldest - cut_off] == ARGV[first + cut_off] do
    cut_off = cut_off + 1
  end
  local trimmed = redis.pcall('LTRIM', inprogress, 0, -1 - cut_off)
  if trimmed.err then
    return nil, trimmed.err
  end
  if cut_off == count then
    return count
  end
  local answers = {}
  for i = 1, count do
    answers[i] = i <= cut_off and DONE or redis.call('LREM', inprogress, -1, ARGV[first + i - 1])
  end
  return answers
end

-- As ack_jobs, but reads no payload: for jobs so large, or so few, that this costs less. Those that
-- are REFUSED stay, and have that result.
local function remove_jobs(inprogress, first, refused)
  local count, removed = #ARGV - first + 1, 0
  local answers = {}
  for i = 1, count do
    local answer = refused and refused[i]
      or redis.pcall('LREM', inprogress, -1, ARGV[first + i - 1])
    -- If the first has an error, nothing is done.
    if type(answer) == 'table' then
      return nil, check(inprogress, 'list') or answer.err
    end
    answers[i] = answer
    removed = removed + (answer == DONE and 1 or 0)
  end
  if removed == count then
    return count
  end
  return answers
end

-- As ack_jobs or remove_jobs, for jobs of which some have effects.
local function ack_with_effects(effects, keys, first)
  local refused, some_refused = {}, false
  for job, mine in pairs(effects.of) do
    local fault = look_at(effects, mine)
    if fault and read('list', 'LPOS', keys.inprogress, ARGV[first + job], 'RANK', -1) then
      refused[job], some_refused = fault, true
    end
  end
  local answers, wrong
  if ARGV[first] == 'acks' and not some_refused then
    answers, wrong = ack_jobs(keys.inprogress, first + 1)
  else
    answers, wrong = remove_jobs(keys.inprogress, first + 1, refused)
  end
  if not answers then
    return nil, wrong
  end
  for job, mine in pairs(effects.of) do
    if type(answers) == 'number' or answers[job] == DONE then
      apply(effects, mine)
    end
  end
  return answers
end

local function settle_each(keys, name, first, effects)
  local inprogress = keys.inprogress
  local wrong = check(inprogress, 'list')
  if wrong then
    return nil, wrong
  end
  local trimmed = redis.pcall('LTRIM', inprogress, 0, -1)
  if trimmed.err then
    return nil, trimmed.err
  end

  -- Entries that go to the front of the queue, all at once at the end. Until then they count as
  -- gone.
  local front, reserved = {}, {}

  -- The error of a target, or false. Each is checked once, before the first write to it.
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

  local answers = each_job(words, first, function(at, index)
    local target, held = ARGV[at], ARGV[at + 1]
    local mine = effects and effects.of[index]
    if target == 'ack' and not reserved[held] and not mine then
      return redis.call('LREM', inprogress, -1, held)
    end
    if not is_held(held) then
      return NOT_HELD
    end
    local fault = fault_of(target)
    if fault then
      return fault
    end
    local verdict = mine and look_at(effects, mine)
    if verdict == SUPERSEDED then
      redis.call('LREM', inprogress, -1, held)
      supersede(effects, mine)
    end
    if verdict then
      return verdict
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
        cut_dead(keys.dead, ARGV[at + 4], ARGV[at + 5], MAX_CUT_BY_DEATH)
      end
    end
    redis.call('LREM', inprogress, -1, held)
    if mine then
      apply(effects, mine, keys[target])
    end
    return answer
  end)

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
  return answers, #front > 0
end

-- Settles jobs in the list KEYS.inprogress of the queue NAME, from the word FIRST on. Returns two
-- values. The first is the number of the jobs if all are done, else for each job: 1 done; 2 done
-- and merged with an equal member of the set; 0 not held; 3 discarded, because a newer job came; or
-- the text of an error after which the job is where it was. The second is whether some went back to
-- the queue. Or it returns nil and an error, and has done nothing.
local function settle_jobs(keys, name, first)
  local effects
  effects, first = read_effects(first)
  if effects and (ARGV[first] == 'acks' or ARGV[first] == 'remove') then
    return ack_with_effects(effects, keys, first)
  end
  if ARGV[first] == 'acks' then
    return ack_jobs(keys.inprogress, first + 1)
  end
  if ARGV[first] == 'remove' then
    return remove_jobs(keys.inprogress, first + 1)
  end
  return settle_each(keys, name, first, effects)
end
