-- Replaces jobs of a queue or a sorted set by others, each in its place.
--
-- KEYS  1 the queue or the set
-- ARGV  1 "list" or "zset", what KEYS[1] is, then for each job, at most 100 of them: HELD JOB
-- Returns for each job: 1 done, 2 done and merged with an equal member of the set, 0 not there, or the text of an error
-- after which the job is as it was.
--
-- Atomic, so that a job that somebody takes meanwhile is not stored again, and so that it is never in no key at all. The first
-- write is one that a full Redis allows; after it, so are the others.

local NOT_HELD, DONE, MERGED = 0, 1, 2
local key, kind = KEYS[1], ARGV[1]

local found = redis.call('TYPE', key).ok
if found ~= 'none' and found ~= kind then
  return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. kind)
end

local first
if kind == 'list' then
  first = redis.pcall('LTRIM', key, 0, -1)
else
  first = redis.pcall('ZREMRANGEBYRANK', key, 1, 0)
end
if type(first) == 'table' and first.err then
  return first
end

local function in_list(held, job)
  -- From the right: what was read first.
  local place = redis.call('LPOS', key, held, 'RANK', -1)
  if not place then
    return NOT_HELD
  end
  local set = redis.pcall('LSET', key, place, job)
  return set.err or DONE
end

local function in_set(held, job)
  local score = redis.call('ZSCORE', key, held)
  if not score then
    return NOT_HELD
  end
  if held == job then
    return DONE
  end
  local added = redis.pcall('ZADD', key, score, job)
  if type(added) == 'table' then
    return added.err
  end
  redis.call('ZREM', key, held)
  return added == 1 and DONE or MERGED
end

local replace = kind == 'list' and in_list or in_set
local answers = {}
for at = 2, #ARGV, 2 do
  answers[#answers + 1] = replace(ARGV[at], ARGV[at + 1])
end
return answers
