-- Removes all jobs of a queue or of a sorted set.
--
-- KEYS  1 the queue or the set  2 (of a queue) queues
-- ARGV  1 "list" or "zset": what KEYS[1] is  2 (of a queue) its name
-- Returns how many jobs were removed.
--
-- Atomic, so that the answer is the number that was removed. UNLINK leaves the work on a long list
-- to another thread of the server.

local key, kind = KEYS[1], ARGV[1]
local wrong = check(key, kind)
if wrong then
  return redis.error_reply(wrong)
end

local count = redis.call(kind == 'list' and 'LLEN' or 'ZCARD', key)
redis.call('UNLINK', key)
if KEYS[2] then
  redis.call('SREM', KEYS[2], ARGV[2])
end
return count
