-- Sends a signal to a process that is shown in Sidekiq Web.
--
-- KEYS  1 processes  2 ID  3 ID-signals
-- ARGV  1 ID  2 time to live of the signals in seconds  3 the signal
-- Returns 1 if it was sent, 0 if the process is not shown.
--
-- Atomic, so that no signal waits for a process that has ended. The first write is a command that a
-- full Redis allows. After it, Redis allows all others.

local wrong = check(KEYS[1], 'set') or check(KEYS[3], 'list')
if wrong then
  return redis.error_reply(wrong)
end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 or redis.call('TYPE', KEYS[2]).ok ~= 'hash' then
  return 0
end

-- No list has this element.
local first = redis.pcall('LREM', KEYS[3], 0, '')
if type(first) == 'table' and first.err then
  return first
end
redis.call('LPUSH', KEYS[3], ARGV[3])
redis.call('EXPIRE', KEYS[3], ARGV[2])
return 1
