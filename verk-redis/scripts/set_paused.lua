-- Pauses or resumes a queue for all nodes, and announces that.
--
-- KEYS  1 paused  2 verk:pauses
-- ARGV  1 Q  2 1 to pause, 0 to resume  3 the channel of the announcement
--       4 the note of the pause, empty for none
-- Returns 1 if that changed anything, else 0.
--
-- Atomic, so that a node that reads the set after the announcement finds the change, and so that a
-- pause has its own note. The first write is a command that a full Redis allows. After it, Redis
-- allows all others. If a user may not publish, the set is changed nevertheless. So it is if the
-- key of the notes has another type.

local wrong = check(KEYS[1], 'set')
if wrong then
  return redis.error_reply(wrong)
end

-- No queue has this name.
local first = redis.pcall('SREM', KEYS[1], '')
if type(first) == 'table' and first.err then
  return first
end
local pause, note = ARGV[2] == '1', ARGV[4]
local changed = redis.call(pause and 'SADD' or 'SREM', KEYS[1], ARGV[1])
if not check(KEYS[2], 'hash') and (changed == 1 or not pause) then
  -- A program that knows no notes may have left one.
  redis.call('HDEL', KEYS[2], ARGV[1])
  if pause and note ~= '' then
    redis.call('HSET', KEYS[2], ARGV[1], note)
  end
end
redis.pcall('PUBLISH', ARGV[3], ARGV[1])
return changed
