-- Cuts the dead set to its limits, one step of it.
--
-- KEYS  1 dead
-- ARGV  1 OLDEST_SCORE: what died before goes  2 the most jobs to keep  3 the most jobs to cut
-- Returns 1 if more are to go, else 0.
--
-- Atomic, so that a job that is buried meanwhile costs no other its place. Its only write is one
-- that a full Redis allows.

local wrong = check(KEYS[1], 'zset')
if wrong then
  return redis.error_reply(wrong)
end
return cut_dead(KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])) and 1 or 0
