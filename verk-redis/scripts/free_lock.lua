-- Frees a lock, if nothing changed it since it was read.
--
-- KEYS  1 the lock  2 locks  3 marks  4 queues  5 (if a job waits) its queue
-- ARGV  1 JID of the holder  2 the number of its changes  3 Q  4 JID of the job that waits, or ""
-- Returns 1 if it was freed, else 0.
--
-- Atomic, so that a lock that another job took meanwhile stays. The first write is a command that a
-- full Redis allows. After it, Redis allows all others.

local wrong = check(KEYS[1], 'hash') or check(KEYS[2], 'zset') or check(KEYS[3], 'set')
  or KEYS[5] and check(KEYS[5], 'list')
if wrong then
  return redis.error_reply(wrong)
end
local lock = redis.call('HMGET', KEYS[1], 'jid', 'rev', 'next_jid')
if lock[1] ~= ARGV[1] or lock[2] ~= ARGV[2] or (lock[3] or '') ~= ARGV[4] then
  return 0
end
local first = redis.pcall('ZREM', KEYS[2], '')
if type(first) == 'table' then
  return first
end
free({ locks = KEYS[2], marks = KEYS[3], queues = KEYS[4] }, KEYS[1], KEYS[5], ARGV[3])
return 1
