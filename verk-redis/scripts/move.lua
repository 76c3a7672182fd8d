-- Moves jobs out of a queue or a sorted set, or replaces them there: those that are due, or those
-- that an operator picked.
--
-- KEYS  1 the queue or the set  2 dead  3 queues  4.. the queues and sets that jobs go to
-- ARGV  1 "list" or "zset": what KEYS[1] is
--       2 the score that a member of a set may have at most, or "" for any
--       then the effects of the jobs, if there are any: see `effects.lua`
--       then for each job, at most 100 of them:
--       "delete" HELD | "replace" HELD JOB | "queue" HELD INDEX_IN_KEYS Q JOB
--       | "set" HELD INDEX_IN_KEYS SCORE JOB | "dead" HELD SCORE JOB OLDEST_SCORE MAX_JOBS
-- Returns for each job: 1 done; 2 done and merged with an equal member of the set; 0 nothing,
-- because the job is not there, not due, or already in the set with this score; 3 discarded,
-- because a newer job came; {the job that has its lock}, and nothing was done; or the text of an
-- error after which the job is where it was.
--
-- Atomic, so that a move that two nodes or operators ask for happens once, and so that a job is
-- always in some key: it is added to its target before it is removed here. The first write is a
-- command that a full Redis allows. After it, Redis allows all others.

local from, dead, kind = KEYS[1], KEYS[2], ARGV[1]
local due_by = tonumber(ARGV[2])
local words = { delete = 2, replace = 3, queue = 5, set = 5, dead = 6 }

local wrong = check(from, kind)
if wrong then
  return redis.error_reply(wrong)
end

local first
if kind == 'list' then
  first = redis.pcall('LTRIM', from, 0, -1)
else
  first = redis.pcall('ZREMRANGEBYRANK', from, 1, 0)
end
if type(first) == 'table' and first.err then
  return first
end

-- Whether it is the next job to be fetched. This is found without a search, so that the jobs of a
-- long queue can be taken out in their order.
local function is_next(held)
  return redis.call('LINDEX', from, -1) == held
end

local function is_held(held)
  if kind == 'list' then
    return is_next(held) or redis.call('LPOS', from, held)
  end
  local score = redis.call('ZSCORE', from, held)
  return score and not (due_by and tonumber(score) > due_by)
end

local function remove(held)
  if kind == 'list' and is_next(held) then
    return redis.call('RPOP', from) and 1
  end
  if kind == 'list' then
    return redis.call('LREM', from, 1, held)
  end
  return redis.call('ZREM', from, held)
end

-- Gives the place of a job to another job.
local function replace(held, job)
  if kind == 'list' then
    -- From the right: of equal jobs, the next to be fetched.
    local place = redis.call('LPOS', from, held, 'RANK', -1)
    if not place then
      return NOT_HELD
    end
    redis.call('LSET', from, place, job)
    return DONE
  end
  local score = redis.call('ZSCORE', from, held)
  if not score then
    return NOT_HELD
  end
  if held == job then
    return DONE
  end
  local answer, refused = add_to_set(from, score, job)
  if answer then
    remove(held)
  end
  return answer or refused
end

-- The error of a target, or false. Each is checked once, before the first write to it.
local looked_at = {}
local function fault_of(target, wanted)
  if looked_at[target] == nil then
    looked_at[target] = check(target, wanted) or false
  end
  return looked_at[target]
end

-- Adds to a set. Returns the result of the job, and whether the job is still to be removed; or nil
-- and an error.
local function move_to_set(set, held, score, job)
  local unusable = fault_of(set, 'zset')
  if unusable then
    return nil, unusable
  end
  if set == from and job == held then
    local changed = redis.pcall('ZADD', set, 'CH', score, job)
    if type(changed) == 'table' then
      return nil, changed.err
    end
    return changed == 1 and DONE or NOT_HELD, false
  end
  local answer, refused = add_to_set(set, score, job)
  return answer, refused or true
end

local function move_to_queue(queue, name, job)
  local unusable = fault_of(queue, 'list')
  if unusable then
    return nil, unusable
  end
  redis.pcall('SADD', KEYS[3], name)
  redis.call('LPUSH', queue, job)
  return DONE, true
end

-- Adds one job to its target. Returns the same as move_to_set.
local function add(at)
  local to, held = ARGV[at], ARGV[at + 1]
  if to == 'queue' then
    return move_to_queue(KEYS[tonumber(ARGV[at + 2])], ARGV[at + 3], ARGV[at + 4])
  end
  if to == 'set' then
    return move_to_set(KEYS[tonumber(ARGV[at + 2])], held, ARGV[at + 3], ARGV[at + 4])
  end
  return move_to_set(dead, held, ARGV[at + 2], ARGV[at + 3])
end

local function move_held(at)
  local to, held = ARGV[at], ARGV[at + 1]
  -- Without a time, these two look for the job themselves.
  if (due_by or to ~= 'delete' and to ~= 'replace') and not is_held(held) then
    return NOT_HELD
  end
  if to == 'delete' then
    return remove(held)
  end
  if to == 'replace' then
    return replace(held, ARGV[at + 2])
  end
  local answer, leaves = add(at)
  if not answer then
    return leaves
  end
  if leaves then
    remove(held)
  end
  -- Only now, because a job that is buried again does not count twice.
  if to == 'dead' then
    cut_dead(dead, ARGV[at + 4], ARGV[at + 5], MAX_CUT_BY_DEATH)
  end
  return answer
end

local effects, jobs = read_effects(3)

-- The key to which a job goes, or nil.
local function target_of(at)
  local to = ARGV[at]
  if to == 'queue' or to == 'set' then
    return KEYS[tonumber(ARGV[at + 2])]
  end
  return to == 'dead' and dead or to == 'replace' and from or nil
end

local function move(at, index)
  local mine = effects and effects.of[index]
  if not mine then
    return move_held(at)
  end
  local held = ARGV[at + 1]
  if not is_held(held) then
    return NOT_HELD
  end
  local verdict = look_at(effects, mine)
  if verdict == SUPERSEDED then
    remove(held)
    supersede(effects, mine)
  end
  if verdict then
    return verdict
  end
  local answer = move_held(at)
  if answer == DONE or answer == MERGED then
    apply(effects, mine, target_of(at))
  end
  return answer
end

return each_job(words, jobs, move)
