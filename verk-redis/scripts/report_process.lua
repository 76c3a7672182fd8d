-- Shows a process in Sidekiq Web, and takes the signals that were sent to it there.
--
-- KEYS  1 processes  2 ID  3 ID-signals  4 ID:work  5 (for Sidekiq before 6.4.2) ID:workers
-- ARGV  1 ID  2 time to live of all keys but the first, in seconds  3 how many of the following
--       belong to the hash KEYS[2]  then its fields and their values
--       then for each running job: a thread id, the job
-- Returns the signals, the oldest first.
--
-- Atomic, so that nobody sees the process without its jobs, and so that a signal is taken once. The
-- first write is a command that a full Redis allows. After it, Redis allows all others.

local wanted = { 'set', 'hash', 'list', 'hash', 'hash' }
for i = 1, #KEYS do
  local wrong = check(KEYS[i], wanted[i])
  if wrong then
    return redis.error_reply(wrong)
  end
end

local ttl, jobs = ARGV[2], 4 + ARGV[3]
local first = redis.pcall('EXPIRE', KEYS[2], ttl)
if type(first) == 'table' then
  return first
end
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], unpack(ARGV, 4, jobs - 1))
redis.call('EXPIRE', KEYS[2], ttl)
for i = 4, #KEYS do
  redis.call('UNLINK', KEYS[i])
  for at = jobs, #ARGV, 2 do
    redis.call('HSET', KEYS[i], ARGV[at], ARGV[at + 1])
  end
  redis.call('EXPIRE', KEYS[i], ttl)
end
return redis.call('RPOP', KEYS[3], 100) or {}
