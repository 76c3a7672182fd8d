-- Gives a name to a node, unless another node holds it.
--
-- KEYS  1 verk:name:NAME
-- ARGV  1 NODE  2 time to live in milliseconds
-- Returns {} if the node holds the name now, else {holder, the time to live of its claim in ms}.
--
-- Atomic, so that only one of two nodes that start at once gets the name. The first write is a
-- command that a full Redis allows. After it, Redis allows all others.

local wrong = check(KEYS[1], 'string')
if wrong then
  return redis.error_reply(wrong)
end
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return { holder, redis.call('PTTL', KEYS[1]) }
end

local first = redis.pcall('PEXPIRE', KEYS[1], ARGV[2])
if type(first) == 'table' then
  return first
end
if first == 0 then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return {}
