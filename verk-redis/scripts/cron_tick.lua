-- Takes a run of an entry of the timetable: enqueues its jobs, and moves on to the next run.
--
-- KEYS  1 verk:cron  2 verk:crondue  3 schedule  4 queues  5 retry  6 marks  7 locks  8 suspects
--       9 verk:moved  10.. the queues that jobs go to, and the lock
-- ARGV  1 NAME  2 the revision that was seen  3 the score that was seen  4 the next score
--       5 how many runs were missed  6 the record of the tick  7 the record if the job that has a
--       lock is skipped  8 most records that are kept
--       9 after how many seconds without a step a lock is a suspect  10 how many jobs of a queue
--       are searched for one that is replaced
--       then for each job, at most 100: "queue" INDEX_IN_KEYS Q JOB | "set" SCORE JOB
--       | "job" .., at most one: see `locking.lua`
-- Returns 1 done; 0 nothing, because the entry is not as it was seen; or {the jid of the job that
-- has the lock, the place of that job} if the job with a lock was skipped.
--
-- Atomic, so that a run that several nodes see is enqueued once: the first moves the score on. Jobs
-- are added before that, and a Redis that is full refuses the first of them, and so everything. A
-- tick that stores no job begins with a command that a full Redis allows. After that first write,
-- Redis allows all others.

local entries, due, name = KEYS[1], KEYS[2], ARGV[1]
local wrong = wrong_timetable(entries, due)
if wrong then
  return redis.error_reply(wrong)
end
if not is_as_seen(entries, due, name, ARGV[2], ARGV[3]) then
  return 0
end

local words = { queue = 4, set = 3, job = LOCKED_JOB_WORDS }
local first_job = 11
each_job(words, first_job, function(at)
  if ARGV[at] == 'set' then
    wrong = wrong or check(KEYS[3], 'zset')
  elseif ARGV[at] == 'queue' then
    wrong = wrong or check(KEYS[tonumber(ARGV[at + 1])], 'list')
  end
end)
if wrong then
  return redis.error_reply(wrong)
end

local jobs, refused, skipped = 0, nil, nil
local function write(command, ...)
  if refused then
    return
  end
  local reply = redis.pcall(command, ...)
  if type(reply) == 'table' and reply.err then
    refused = reply
  end
end
-- The job with a lock comes first: if it cannot be stored, nothing is.
local keys = {
  queues = KEYS[4], schedule = KEYS[3], retry = KEYS[5],
  marks = KEYS[6], locks = KEYS[7], suspects = KEYS[8], moved = KEYS[9],
  suspect_after = tonumber(ARGV[9]), most = tonumber(ARGV[10]),
}
each_job(words, first_job, function(at)
  if ARGV[at] ~= 'job' or refused then
    return
  end
  local stored = store_locked(keys, read_locked_job(at))
  if type(stored) == 'string' then
    refused = redis.error_reply(stored)
  elseif type(stored) == 'table' and stored[2] then
    skipped = { stored[1], stored[2] }
  else
    jobs = jobs + 1
  end
end)
each_job(words, first_job, function(at)
  if ARGV[at] == 'set' then
    write('ZADD', KEYS[3], ARGV[at + 1], ARGV[at + 2])
    jobs = jobs + 1
  elseif ARGV[at] == 'queue' then
    write('LPUSH', KEYS[tonumber(ARGV[at + 1])], ARGV[at + 3])
    jobs = jobs + 1
  end
end)
-- A tick may have stored nothing yet. No entry has this field.
write('HDEL', entries, '')
if refused then
  return refused
end
-- Now that something was written, nothing is refused any more.
each_job(words, first_job, function(at)
  if ARGV[at] == 'queue' then
    redis.pcall('SADD', KEYS[4], ARGV[at + 2])
  end
end)

redis.call('ZADD', due, ARGV[4], name)
local kept, count = skipped and ARGV[7] or ARGV[6], 1
for line in string.gmatch(text(entries, 'last', name) or '', '[^\n]+') do
  if count >= tonumber(ARGV[8]) then
    break
  end
  kept = kept .. '\n' .. line
  count = count + 1
end
redis.call('HSET', entries, field('last', name), kept,
  field('runs', name), number(entries, 'runs', name) + jobs,
  field('missed', name), number(entries, 'missed', name) + ARGV[5],
  field('skipped', name), number(entries, 'skipped', name) + (skipped and 1 or 0))
return skipped or 1
