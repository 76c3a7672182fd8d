-- Cuts the dead set to its limits, in steps.
--
-- KEYS  1 dead
-- ARGV  1 OLDEST_SCORE: jobs that died before are cut  2 the most jobs to keep  3 the most to cut
-- Returns 1 if more are to be cut, else 0.
--
-- Atomic, so that no other job is cut for a job that is buried meanwhile. Its only write is a
-- command that a full Redis allows.

local wrong = check(KEYS[1], 'zset')
if wrong then
  return redis.error_reply(wrong)
end
return cut_dead(KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])) and 1 or 0
