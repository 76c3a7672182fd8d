-- Keeps which cell of how many this storage is, unless it has that already.
--
-- KEYS  1 verk:layout
-- ARGV  1 the layout
-- Returns the layout that the storage then has.
--
-- Atomic, so that of two programs with other cells that start at once only one does. The first
-- write is a command that a full Redis allows. After it, Redis allows all others.

local wrong = check(KEYS[1], 'string')
if wrong then
  return redis.error_reply(wrong)
end
local found = redis.call('GET', KEYS[1])
if found then
  return found
end

local first = redis.pcall('PERSIST', KEYS[1])
if type(first) == 'table' then
  return first
end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
