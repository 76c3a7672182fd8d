-- Keeps a lock whose job is done, as another storage had it.
--
-- KEYS  1 verk:unique:LOCK  2 verk:unique
-- ARGV  1 JID  2 CLASS  3 PLACE  4 the seconds since when it is held  5 after how many milliseconds
--       it ends, or ""
-- Returns 1 if the lock was free; 0 otherwise.
--
-- Atomic, so that no job takes the lock meanwhile.

local lock, locks = KEYS[1], KEYS[2]
local wrong = check(lock, 'hash') or check(locks, 'zset')
if wrong then
  return redis.error_reply(wrong)
end
if redis.call('EXISTS', lock) == 1 then
  return 0
end
local set = redis.pcall('HSET', lock, 'jid', ARGV[1], 'class', ARGV[2], 'place', ARGV[3],
  'since', ARGV[4])
if type(set) == 'table' then
  return set
end
touch(lock)
set_end(locks, lock, ARGV[5])
return 1
