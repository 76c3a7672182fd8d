-- Stores an entry of the timetable, or replaces its definition.
--
-- KEYS  1 verk:cron  2 verk:crondue  3 verk:moved
-- ARGV  1 NAME  2 the definition  3 its hash  4 the score of the next run
--       5 the revision that was seen, or "" for no entry  6 the score that was seen
--       7 1 to replace also a definition that has replaced this one  8 most hashes that are kept
--       9 the queue of its jobs, or ""
-- Returns 1 done, 0 the entry is not as it was seen, -1 the stored definition has replaced this one
-- before.
--
-- Atomic, so that of two nodes that declare at once, one sees what the other did.

local wrong = moved_away(KEYS[3], ARGV[9], 'arriving') or wrong_timetable(KEYS[1], KEYS[2])
if wrong then
  return redis.error_reply(wrong)
end

local entries, due, name, hash, seen = KEYS[1], KEYS[2], ARGV[1], ARGV[3], ARGV[5]
if seen == '' then
  if exists(entries, name) then
    return 0
  end
elseif not is_as_seen(entries, due, name, seen, ARGV[6]) then
  return 0
end

-- The hashes of replaced definitions, the newest first.
local before = {}
local old = text(entries, 'hash', name)
if old and old ~= hash then
  before[1] = old
end
local superseded = false
for other in string.gmatch(text(entries, 'superseded', name) or '', '%S+') do
  if other == hash then
    superseded = old ~= hash
  elseif #before < tonumber(ARGV[8]) then
    before[#before + 1] = other
  end
end
if superseded and ARGV[7] ~= '1' then
  return -1
end

local revision = number(entries, 'revision', name) + 1
local stored = redis.pcall('HSET', entries, field('definition', name), ARGV[2],
  field('hash', name), hash, field('revision', name), revision,
  field('superseded', name), table.concat(before, ' '))
if type(stored) == 'table' and stored.err then
  return stored
end
local paused = redis.call('HEXISTS', entries, field('pause', name)) == 1
redis.call('ZADD', due, paused and 'inf' or ARGV[4], name)
return 1
