-- Comes before the scripts that store jobs with unique locks, after `effects`.
--
-- KEYS of a script: { queues, schedule, retry, marks, locks, suspects, moved }, and two numbers:
-- suspect_after, the seconds without a step after which a lock is a suspect; and most, how many
-- jobs of a queue are searched for one that is replaced.
--
-- A job is "job" LOCK JID CLASS QUEUE Q SCORE JOB ON_CONFLICT MAX_WAIT MILLISECONDS
-- LOCK and QUEUE are indexes in KEYS. SCORE is "" for a job that goes to its queue. ON_CONFLICT is
-- "skip", "replace", "keep_last" or "queue_one". MAX_WAIT, in seconds, and MILLISECONDS, after
-- which the lock ends, may be "".

local LOCKED_JOB_WORDS = 11
local MOST_SUSPECTS = 10000

local function read_locked_job(at)
  return {
    lock = KEYS[tonumber(ARGV[at + 1])], jid = ARGV[at + 2], class = ARGV[at + 3],
    queue = KEYS[tonumber(ARGV[at + 4])], name = ARGV[at + 5], score = ARGV[at + 6],
    payload = ARGV[at + 7], on_conflict = ARGV[at + 8], max_wait = ARGV[at + 9],
    ends = ARGV[at + 10],
  }
end

-- Gives a job the lock. SINCE is when the lock was taken, or nil for now. Returns an error, or nil.
local function take(keys, job, place, since)
  local _, now = server_time()
  local set = redis.pcall('HSET', job.lock, 'jid', job.jid, 'class', job.class, 'place', place,
    'since', since or now)
  if type(set) == 'table' then
    return set.err
  end
  if job.on_conflict == 'replace' or job.on_conflict == 'keep_last' then
    redis.call('HSET', job.lock, 'payload', job.payload)
  else
    redis.call('HDEL', job.lock, 'payload')
  end
  touch(job.lock)
  set_end(keys.locks, job.lock, job.ends)
end

-- Stores a job and gives it the lock. Returns an error, or nil.
local function store(keys, job, score, since)
  local place = score == '' and 'queue ' .. job.name or 'schedule ' .. score
  local refused = take(keys, job, place, since)
  if refused then
    return refused
  end
  if score == '' then
    redis.pcall('SADD', keys.queues, job.name)
    redis.call('LPUSH', job.queue, job.payload)
    redis.call('SADD', keys.marks, job.queue)
  else
    redis.call('ZADD', keys.schedule, score, job.payload)
    redis.call('SADD', keys.marks, keys.schedule)
  end
end

-- Replaces the job that has the lock of this one. Returns its result, or nil if that job
-- cannot be found.
local function replace(keys, job, held)
  if not held.payload then
    return nil
  end
  -- The job that waits is only in the lock.
  if held.next_jid and job.ends ~= '' then
    return nil
  end
  local kind, at = string.match(held.place, '^(%w+) (.*)$')
  if kind == 'queue' then
    if at ~= job.name then
      return nil
    end
    local found = redis.call('LPOS', job.queue, held.payload, 'MAXLEN', keys.most)
    if not found then
      return nil
    end
    if job.score == '' then
      -- It keeps the place of the other in the queue.
      local set = redis.pcall('LSET', job.queue, found, job.payload)
      if set.err then
        return set.err
      end
      return take(keys, job, held.place, held.since) or { held.jid }
    end
    redis.call('LREM', job.queue, 1, held.payload)
  elseif kind == 'schedule' or kind == 'retry' then
    local set = kind == 'retry' and keys.retry or keys.schedule
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
  return store(keys, job, score, held.since) or { held.jid }
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

-- Whether a job may wait for its lock. It is only in the lock then, which must not end by itself.
local function may_wait(job)
  return job.ends == '' and redis.call('PTTL', job.lock) == -1
end

-- Does what is to be done about the job that has the lock. Returns the result of this one.
local function meet(keys, job, held)
  redis.pcall('HINCRBY', job.lock, 'conflicts', 1)
  local now = server_time()
  if now - tonumber(held.touched or 0) >= keys.suspect_after
    and not check(keys.suspects, 'zset') and redis.call('ZCARD', keys.suspects) < MOST_SUSPECTS then
    redis.pcall('ZADD', keys.suspects, 'NX', now, id_of(job.lock))
  end
  local duplicate = { held.jid, held.place }
  if job.on_conflict == 'replace' then
    return replace(keys, job, held) or duplicate
  end
  local queue = string.match(held.place, '^queue (.*)$')
  if job.on_conflict == 'queue_one' then
    local may = queue == job.name and not held.next_jid and may_wait(job)
    return may and wait(job, held) or duplicate
  end
  if job.on_conflict == 'keep_last' then
    if not queue then
      return replace(keys, job, held) or duplicate
    end
    if queue ~= job.name or job.score ~= '' then
      return { held.jid, held.place, 'ERR the job cannot wait for its lock: the holder is in '
        .. 'another queue, or the job is for later' }
    end
    return may_wait(job) and wait(job, held) or duplicate
  end
  return duplicate
end

-- Stores a job with its lock. Returns 1 if it is stored; {the jid of the job that it replaced};
-- {the jid of the job that has the lock, the place of that job}, with an error as a third value if
-- it cannot wait for that one as it should; or the text of an error after which nothing was stored.
-- The first write of a job that is stored is one that a full Redis refuses.
local function store_locked(keys, job)
  local wrong = keys.moved and moved_away(keys.moved, job.name) or check(job.lock, 'hash') or check(job.queue, 'list') or check(keys.schedule, 'zset')
    or check(keys.marks, 'set') or check(keys.locks, 'zset')
  if wrong then
    return wrong
  end
  local lock = redis.call('HMGET', job.lock, 'jid', 'place', 'since', 'touched', 'payload',
    'next_jid')
  if not lock[1] then
    return store(keys, job, job.score) or DONE
  end
  if lock[1] == job.jid or lock[6] == job.jid then
    return DONE
  end
  return meet(keys, job, {
    jid = lock[1], place = lock[2] or '', since = lock[3] or '0', touched = lock[4],
    payload = lock[5], next_jid = lock[6],
  })
end
