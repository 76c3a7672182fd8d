-- Pauses or resumes a queue for all nodes, and announces that.
--
-- KEYS  1 paused
-- ARGV  1 Q  2 1 to pause, 0 to resume  3 the channel of the announcement
-- Returns 1 if that changed anything, else 0.
--
-- Atomic, so that a node that reads the set after the announcement finds the change. The first
-- write is a command that a full Redis allows. After it, Redis allows all others. If a user may not
-- publish, the set is changed nevertheless.

local wrong = check(KEYS[1], 'set')
if wrong then
  return redis.error_reply(wrong)
end

-- No queue has this name.
local first = redis.pcall('SREM', KEYS[1], '')
if type(first) == 'table' and first.err then
  return first
end
local changed
if ARGV[2] == '1' then
  changed = redis.call('SADD', KEYS[1], ARGV[1])
else
  changed = redis.call('SREM', KEYS[1], ARGV[1])
end
redis.pcall('PUBLISH', ARGV[3], ARGV[1])
return changed
