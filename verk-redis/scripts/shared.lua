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

-- Adds a job to a sorted set. Answers what became of it; or nil and an error.
local function add_to_set(set, score, job)
  local added = redis.pcall('ZADD', set, score, job)
  if type(added) == 'table' then
    return nil, added.err
  end
  return added == 1 and DONE or MERGED
end

-- Cuts the dead set: what died before OLDEST_SCORE goes, and the oldest of what is left above its most jobs.
local function cut_dead(dead, oldest_score, max_jobs_plus_1)
  redis.call('ZREMRANGEBYSCORE', dead, '-inf', '(' .. oldest_score)
  redis.call('ZREMRANGEBYRANK', dead, 0, '-' .. max_jobs_plus_1)
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
