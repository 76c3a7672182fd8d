-- Stores jobs that take unique locks.
--
-- KEYS  1 queues  2 schedule  3 retry  4 marks  5 locks  6 suspects  7.. locks and queues of jobs
-- ARGV  1 after how many seconds without a step a lock is a suspect  2 how many jobs of a queue are
--       searched for one that is replaced
--       then for each job, at most 100 of them:
--       "job" LOCK JID CLASS QUEUE Q SCORE JOB ON_CONFLICT MAX_WAIT MILLISECONDS
--       LOCK and QUEUE are indexes in KEYS. SCORE is "" for a job that goes to its queue.
--       ON_CONFLICT is "skip", "replace" or "keep_last". MAX_WAIT, in seconds, and MILLISECONDS,
--       after which the lock ends, may be "".
-- Returns for each job: 1 stored; {the jid of the job that it replaced}; {the jid of the job that
-- has the lock, the place of that job}; or the text of an error after which nothing was stored.
--
-- Atomic, so that of two jobs that are the same, one gets the lock, and so that a job that has a
-- lock is stored.

local queues, schedule, retry = KEYS[1], KEYS[2], KEYS[3]
local marks, locks, suspects = KEYS[4], KEYS[5], KEYS[6]
local suspect_after, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local MOST_SUSPECTS = 10000
local words = { job = 11 }
local keys = { marks = marks, locks = locks, queues = queues }

-- Gives a job the lock. SINCE is when the lock was taken, or nil for now. Returns an error, or nil.
local function take(job, place, since)
  local _, now = server_time()
  local set = redis.pcall('HSET', job.lock, 'jid', job.jid, 'class', job.class, 'place', place,
    'since', since or now)
  if type(set) == 'table' then
    return set.err
  end
  if job.on_conflict == 'skip' then
    redis.call('HDEL', job.lock, 'payload')
  else
    redis.call('HSET', job.lock, 'payload', job.payload)
  end
  touch(job.lock)
  set_end(locks, job.lock, job.ends)
end

-- Stores a job and gives it the lock. Returns an error, or nil.
local function store(job, score, since)
  local place = score == '' and 'queue ' .. job.name or 'schedule ' .. score
  local refused = take(job, place, since)
  if refused then
    return refused
  end
  if score == '' then
    redis.pcall('SADD', queues, job.name)
    redis.call('LPUSH', job.queue, job.payload)
    redis.call('SADD', marks, job.queue)
  else
    redis.call('ZADD', schedule, score, job.payload)
    redis.call('SADD', marks, schedule)
  end
end

-- Replaces the job that has the lock of this one. Returns its result, or nil if that job
-- cannot be found.
local function replace(job, held)
  if not held.payload then
    return nil
  end
  local kind, at = string.match(held.place, '^(%w+) (.*)$')
  if kind == 'queue' then
    if at ~= job.name then
      return nil
    end
    local found = redis.call('LPOS', job.queue, held.payload, 'MAXLEN', most)
    if not found then
      return nil
    end
    if job.score == '' then
      -- It keeps the place of the other in the queue.
      local set = redis.pcall('LSET', job.queue, found, job.payload)
      if set.err then
        return set.err
      end
      return take(job, held.place, held.since) or { held.jid }
    end
    redis.call('LREM', job.queue, 1, held.payload)
  elseif kind == 'schedule' or kind == 'retry' then
    local set = kind == 'retry' and retry or schedule
    if check(set, 'zset') or redis.call('ZREM', set, held.payload) == 0 then
      return nil
    end
  else
    return nil
  end
  local score = job.score
  if score ~= '' and job.max_wait ~= '' then
    local latest = tonumber(held.since) + tonumber(job.max_wait)
    if tonumber(score) > latest then
      score = string.format('%.6f', latest)
    end
  end
  return store(job, score, held.since) or { held.jid }
end

-- Lets a job wait for its lock. Returns its result.
local function wait(job, held)
  local set = redis.pcall('HSET', job.lock, 'next', job.payload, 'next_jid', job.jid,
    'next_class', job.class, 'next_queue', job.name)
  if type(set) == 'table' then
    return set.err
  end
  touch(job.lock)
  return held.next_jid and { held.next_jid } or DONE
end

local function meet(job, held)
  redis.pcall('HINCRBY', job.lock, 'conflicts', 1)
  local now = server_time()
  if now - tonumber(held.touched or 0) >= suspect_after
    and not check(suspects, 'zset') and redis.call('ZCARD', suspects) < MOST_SUSPECTS then
    redis.pcall('ZADD', suspects, 'NX', now, id_of(job.lock))
  end
  local duplicate = { held.jid, held.place }
  if job.on_conflict == 'replace' then
    return replace(job, held) or duplicate
  end
  if job.on_conflict == 'keep_last' then
    local queue = string.match(held.place, '^queue (.*)$')
    if not queue then
      return replace(job, held) or duplicate
    end
    if queue ~= job.name or job.score ~= '' then
      return 'ERR the job cannot wait for its lock: the holder is in another queue, '
        .. 'or the job is for later'
    end
    return wait(job, held)
  end
  return duplicate
end

return each_job(words, 3, function(at)
  local job = {
    lock = KEYS[tonumber(ARGV[at + 1])], jid = ARGV[at + 2], class = ARGV[at + 3],
    queue = KEYS[tonumber(ARGV[at + 4])], name = ARGV[at + 5], score = ARGV[at + 6],
    payload = ARGV[at + 7], on_conflict = ARGV[at + 8], max_wait = ARGV[at + 9],
    ends = ARGV[at + 10],
  }
  local wrong = check(job.lock, 'hash') or check(job.queue, 'list') or check(schedule, 'zset')
    or check(marks, 'set') or check(locks, 'zset')
  if wrong then
    return wrong
  end
  local lock = redis.call('HMGET', job.lock, 'jid', 'place', 'since', 'touched', 'payload',
    'next_jid')
  if not lock[1] then
    return store(job, job.score) or DONE
  end
  if lock[1] == job.jid or lock[6] == job.jid then
    return DONE
  end
  return meet(job, {
    jid = lock[1], place = lock[2] or '', since = lock[3] or '0', touched = lock[4],
    payload = lock[5], next_jid = lock[6],
  })
end)
