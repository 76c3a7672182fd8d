-- What stands before every other script.

-- What became of one job.
local NOT_HELD, DONE, MERGED = 0, 1, 2

-- What is wrong with a key that is to be of this type, if anything.
local function check(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    return 'WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. wanted
  end
end

-- Reads from a key that is to be of this type. Answers nil and what is wrong, if it is not.
local function read(wanted, command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' and reply.err then
    return nil, check(key, wanted) or reply.err
  end
  return reply
end

-- How many entries to read after a page of so many, if COUNT of them had BYTES so far, and ROOM bytes
-- are enough.
local function next_page(page, count, bytes, room)
  local fitting = math.floor((room - bytes) * count / math.max(bytes, 1))
  return math.max(1, math.min(2 * page, 64, fitting))
end

-- Adds a job to a sorted set. Answers what became of it; or nil and an error.
local function add_to_set(set, score, job)
  local added = redis.pcall('ZADD', set, score, job)
  if type(added) == 'table' then
    return nil, added.err
  end
  return added == 1 and DONE or MERGED
end

-- The most jobs that one death cuts from the dead set: a set that is far over its limits does not
-- hold up the death, nor a batch of 100. The rest goes by `trim_dead`.
local MAX_CUT_BY_DEATH = 10

-- Cuts the dead set by at most MOST jobs: those that died before OLDEST_SCORE, and the oldest above
-- MAX_JOBS. Both are the first of the set, so the larger number counts. Answers whether more are to
-- go.
local function cut_dead(dead, oldest_score, max_jobs, most)
  local expired = redis.call('ZCOUNT', dead, '-inf', '(' .. oldest_score)
  local excess = math.max(expired, redis.call('ZCARD', dead) - max_jobs)
  if excess > 0 then
    redis.call('ZREMRANGEBYRANK', dead, 0, math.min(excess, most) - 1)
  end
  return excess > most
end

-- Lets STEP do one job after the other: from the word FIRST of ARGV on, each begins with a name that says how many words it
-- has. Answers what STEP did, given the place of the name.
local function each_job(words, first, step)
  local answers = {}
  local at = first
  while at <= #ARGV do
    answers[#answers + 1] = step(at)
    at = at + words[ARGV[at]]
  end
  return answers
end
