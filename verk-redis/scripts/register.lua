-- Registers a node.
--
-- KEYS  1 verk:node:NODE  2 verk_nodes  3 verk:node:NODE:queues  4 verk:node:NODE:info
-- ARGV  1 time to live in milliseconds  2 NODE  3 time to live of the info in seconds
--       4 how many of the following are the fields of the info and their values  then these
--       then its queues
-- Returns 1.
--
-- Atomic, so that no other node ever sees this one in the list without its heartbeat, and takes it
-- for dead. The first write is a command that a full Redis allows. After it, Redis allows all
-- others.

local wrong = check(KEYS[1], 'string') or check(KEYS[2], 'set') or check(KEYS[3], 'set')
  or check(KEYS[4], 'hash')
if wrong then
  return redis.error_reply(wrong)
end

local first = redis.pcall('PEXPIRE', KEYS[1], ARGV[1])
if type(first) == 'table' then
  return first
end
redis.call('SET', KEYS[1], 'alive', 'PX', ARGV[1])
redis.call('SADD', KEYS[2], ARGV[2])
local queues = 5 + ARGV[4]
for i = queues, #ARGV do
  redis.call('SADD', KEYS[3], ARGV[i])
end
if queues > 5 then
  redis.call('HSET', KEYS[4], unpack(ARGV, 5, queues - 1))
  redis.call('EXPIRE', KEYS[4], ARGV[3])
end
return 1
