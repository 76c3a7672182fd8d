-- Keeps where a queue lies that moved to another cell, or moves.
--
-- KEYS  1 verk:moved
-- ARGV  1 Q  2 the revision that was seen, or 0 for nothing  3 the gate  4 the new revision
--       5 where the queue lies
-- Returns 1 done; 0 nothing, because it is not as it was seen.
--
-- Atomic, so that of two programs that move a queue at once only one does. The first write is a
-- command that a full Redis allows. After it, Redis allows all others.

local moved, queue = KEYS[1], ARGV[1]
local found, wrong = read('hash', 'HGET', moved, queue)
if wrong then
  return redis.error_reply(wrong)
end
if (string.match(found or '', '^%a+ (%d+) ') or '0') ~= ARGV[2] then
  return 0
end

-- No queue has an empty name.
local first = redis.pcall('HDEL', moved, '')
if type(first) == 'table' then
  return first
end
redis.call('HSET', moved, queue, ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5])
return 1
