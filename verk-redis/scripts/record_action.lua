-- Adds an entry to the list of what operators did, and cuts the list.
--
-- KEYS  1 verk:audit
-- ARGV  1 the entry  2 the most entries that the list has
-- Returns nothing.
--
-- Atomic, so that the list is never longer. The first write is a command that a full Redis allows.
-- After it, Redis allows all others.

local wrong = check(KEYS[1], 'list')
if wrong then
  return redis.error_reply(wrong)
end
redis.call('LTRIM', KEYS[1], 0, ARGV[2] - 2)
redis.call('LPUSH', KEYS[1], ARGV[1])
