-- Comes before the scripts of the timetable.

-- An entry called NAME is a member of verk:crondue, and has these fields in verk:cron, such as
-- "definition:NAME". Other words than these begin no field.
local function field(word, name)
  return word .. ':' .. name
end

-- Whether two scores are the same.
local function same(score, other)
  return score == other or tonumber(score) == tonumber(other)
end

-- The error of a key of the timetable, or nil.
local function wrong_timetable(entries, due)
  return check(entries, 'hash') or check(due, 'zset')
end

-- A text that is kept for an entry, or false.
local function text(entries, word, name)
  return redis.call('HMGET', entries, field(word, name))[1]
end

-- A number that is kept for an entry: 0 if there is none.
local function number(entries, word, name)
  return tonumber(text(entries, word, name) or 0) or 0
end

local function exists(entries, name)
  return redis.call('HEXISTS', entries, field('definition', name)) == 1
end

-- Whether an entry is still as it was seen.
local function is_as_seen(entries, due, name, revision, score)
  return exists(entries, name) and number(entries, 'revision', name) == tonumber(revision)
    and same(redis.call('ZSCORE', due, name) or 'inf', score)
end

-- A change by an operator, or by a node that declares.
local function count_change(entries, name)
  redis.call('HSET', entries, field('revision', name), number(entries, 'revision', name) + 1)
end
