-- Removes all jobs of a queue or of a sorted set, unless some of them may have effects.
--
-- KEYS  1 the queue or the set  2 marks  3 locks  4 (of a queue) queues
-- ARGV  1 "list" or "zset": what KEYS[1] is  2 (of a queue) its name
-- Returns how many jobs were removed; -1 if none was, because a job with effects was stored there.
--
-- Atomic, so that the answer is the number that was removed. UNLINK leaves the work on a long list
-- to another thread of the server.

local key, marks, locks, kind = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local wrong = check(key, kind) or check(marks, 'set') or check(locks, 'zset')
if wrong then
  return redis.error_reply(wrong)
end

local count = redis.call(kind == 'list' and 'LLEN' or 'ZCARD', key)
if redis.call('SISMEMBER', marks, key) == 1 then
  if count > 0 then
    return -1
  end
  if redis.call('EXISTS', locks) == 0 then
    redis.call('SREM', marks, key)
  end
end
redis.call('UNLINK', key)
if KEYS[4] then
  redis.call('SREM', KEYS[4], ARGV[2])
end
return count
