-- Takes a run of an entry of the timetable: enqueues its jobs, and moves on to the next run.
--
-- KEYS  1 verk:cron  2 verk:crondue  3 schedule  4 queues  5.. the queues that jobs go to
-- ARGV  1 NAME  2 the revision that was seen  3 the score that was seen  4 the next score
--       5 how many runs were missed  6 how many were skipped  7 the record of the tick
--       8 most records that are kept
--       then for each job, at most 100: "queue" INDEX_IN_KEYS Q JOB | "set" SCORE JOB
-- Returns 1 done; 0 nothing, because the entry is not as it was seen.
--
-- Atomic, so that a run that several nodes see is enqueued once: the first moves the score on. Jobs
-- are added before that, and a Redis that is full refuses the first of them, and so everything. A
-- tick without jobs begins with a command that a full Redis allows. After that first write, Redis
-- allows all others.

local entries, due, name = KEYS[1], KEYS[2], ARGV[1]
local wrong = wrong_timetable(entries, due)
if wrong then
  return redis.error_reply(wrong)
end
if not is_as_seen(entries, due, name, ARGV[2], ARGV[3]) then
  return 0
end

local words = { queue = 4, set = 3 }
local jobs = 0
each_job(words, 9, function(at)
  jobs = jobs + 1
  if ARGV[at] == 'set' then
    wrong = wrong or check(KEYS[3], 'zset')
  else
    wrong = wrong or check(KEYS[tonumber(ARGV[at + 1])], 'list')
  end
end)
if wrong then
  return redis.error_reply(wrong)
end

-- The effects of jobs come here: before the first job is added, and with its right to be refused.
local refused
local function write(command, ...)
  if refused then
    return
  end
  local reply = redis.pcall(command, ...)
  if type(reply) == 'table' and reply.err then
    refused = reply
  end
end
if jobs == 0 then
  -- No entry has this field.
  write('HDEL', entries, '')
end
each_job(words, 9, function(at)
  if ARGV[at] == 'set' then
    write('ZADD', KEYS[3], ARGV[at + 1], ARGV[at + 2])
  else
    write('LPUSH', KEYS[tonumber(ARGV[at + 1])], ARGV[at + 3])
  end
end)
if refused then
  return refused
end
-- Now that something was written, nothing is refused any more.
each_job(words, 9, function(at)
  if ARGV[at] == 'queue' then
    redis.pcall('SADD', KEYS[4], ARGV[at + 2])
  end
end)

redis.call('ZADD', due, ARGV[4], name)
local kept, count = ARGV[7], 1
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
  field('skipped', name), number(entries, 'skipped', name) + ARGV[6])
return 1
