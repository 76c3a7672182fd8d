-- Pauses or resumes a queue for all nodes, and tells them.
--
-- KEYS  1 paused
-- ARGV  1 Q  2 1 to pause, 0 to resume  3 the channel of the announcement
-- Returns 1 if that changed anything, else 0.
--
-- Atomic, so that whoever reads the set after the announcement finds the change. The first write is one that a
-- full Redis allows; after it, so is the other. A user who may not publish changes the set all the same.

local wrong = check(KEYS[1], 'set')
if wrong then
  return redis.error_reply(wrong)
end

-- No queue has that name.
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
