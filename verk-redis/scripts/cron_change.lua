-- Pauses, resumes, marks or removes an entry of the timetable.
--
-- KEYS  1 verk:cron  2 verk:crondue
-- ARGV  1 NAME  then "pause" NOTE | "resume" REVISION SCORE NEXT_SCORE | "mark" SECONDS, or "" for
--       none | "remove"
-- Returns 1 done, or the entry exists; 0 nothing: no such entry, already paused, not as it was
-- seen, or not paused.
--
-- Atomic, so that no tick sees an entry half changed. The first write is a command that a full
-- Redis allows. After it, Redis allows all others.

local entries, due, name, what = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local wrong = wrong_timetable(entries, due)
if wrong then
  return redis.error_reply(wrong)
end

if what == 'remove' then
  -- A member that has no definition is removed, too.
  local member = redis.call('ZREM', due, name)
  local gone = redis.call('HDEL', entries, field('definition', name), field('hash', name),
    field('revision', name), field('superseded', name), field('pause', name),
    field('orphaned', name), field('runs', name), field('missed', name), field('skipped', name),
    field('last', name))
  return (member > 0 or gone > 0) and 1 or 0
end
if not exists(entries, name) then
  return 0
end

if what == 'mark' then
  redis.call('HDEL', entries, field('orphaned', name))
  if ARGV[3] ~= '' then
    redis.call('HSET', entries, field('orphaned', name), ARGV[3])
  end
  return 1
end

local pause = field('pause', name)
local paused = redis.call('HEXISTS', entries, pause) == 1
if what == 'pause' then
  if paused then
    return 0
  end
  -- It exists, so it has no other field than these.
  redis.call('HDEL', entries, '')
  redis.call('HSET', entries, pause, ARGV[3])
  redis.call('ZADD', due, 'inf', name)
else
  if not paused or not is_as_seen(entries, due, name, ARGV[3], ARGV[4]) then
    return 0
  end
  redis.call('HDEL', entries, pause)
  redis.call('ZADD', due, ARGV[5], name)
end
count_change(entries, name)
return 1
