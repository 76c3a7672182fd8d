-- Comes before every other script.

-- The result of one job.
local NOT_HELD, DONE, MERGED = 0, 1, 2

-- The error of a key if it has another type than this, or nil.
local function check(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    return 'WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. wanted
  end
end

-- Reads from a key of this type. Returns nil and the error if it has another.
local function read(wanted, command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' and reply.err then
    return nil, check(key, wanted) or reply.err
  end
  return reply
end

-- The error of a queue for which this cell is not open, or nil. ALSO is another gate that will do.
local function moved_away(moved, queue, also)
  local found, wrong = read('hash', 'HGET', moved, queue)
  local gate = string.match(found or 'open', '^%a+')
  if wrong or gate == 'open' or gate == also then
    return wrong
  end
  return 'QUEUEMOVED it lies in another cell, or is about to'
end

-- How many entries to read after a page of this many, if COUNT of them had BYTES so far, and ROOM
-- bytes are enough.
local function next_page(page, count, bytes, room)
  local fitting = math.floor((room - bytes) * count / math.max(bytes, 1))
  return math.max(1, math.min(2 * page, 64, fitting))
end

-- Adds a job to a sorted set. Returns the result; or nil and an error.
local function add_to_set(set, score, job)
  local added = redis.pcall('ZADD', set, score, job)
  if type(added) == 'table' then
    return nil, added.err
  end
  return added == 1 and DONE or MERGED
end

-- The most jobs that one death cuts from the dead set, so that a set far over its limits delays
-- neither the death nor a batch of 100. `trim_dead` cuts the rest.
local MAX_CUT_BY_DEATH = 10

-- Cuts the dead set by at most MOST jobs: those that died before OLDEST_SCORE, and the oldest above
-- MAX_JOBS. Both are at the start of the set, so the larger number counts. Returns whether more are
-- to be cut.
local function cut_dead(dead, oldest_score, max_jobs, most)
  local expired = redis.call('ZCOUNT', dead, '-inf', '(' .. oldest_score)
  local excess = math.max(expired, redis.call('ZCARD', dead) - max_jobs)
  if excess > 0 then
    redis.call('ZREMRANGEBYRANK', dead, 0, math.min(excess, most) - 1)
  end
  return excess > most
end

-- Calls STEP for one job after the other: from the word FIRST of ARGV on, each begins with a name
-- that says how many words it has. STEP gets the place of the name, and the index of the job.
-- Returns the results of STEP.
local function each_job(words, first, step)
  local answers = {}
  local at = first
  while at <= #ARGV do
    answers[#answers + 1] = step(at, #answers + 1)
    at = at + words[ARGV[at]]
  end
  return answers
end
