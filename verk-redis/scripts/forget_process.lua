-- Removes a process from those that Sidekiq Web shows.
--
-- KEYS  1 processes  2 ID  3 ID-signals  4 ID:work  5 ID:workers
-- ARGV  1 ID
--
-- Atomic, so that keys are deleted only if they belong to a process that is shown: only the caller
-- says which key is the first.

if redis.call('SREM', KEYS[1], ARGV[1]) == 1 and redis.call('TYPE', KEYS[2]).ok == 'hash' then
  redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
end
