-- Adds to counters what a node counted, once.
--
-- KEYS  1 verk:node:NODE:stats  2.. counters
-- ARGV  1 the number of the report  2 time to live of KEYS[1] in seconds, then for each counter:
--       how much to add, its time to live in seconds or 0 for none
-- Returns 1 when it was added, 0 when a report with this number or a higher one was added before.
--
-- Atomic, so that a report that is sent twice counts once, and in all counters or in none. The first write
-- is one that a full Redis allows; after it, so are the others.

local function number_at(key)
  local found = redis.call('TYPE', key).ok
  if found == 'none' then
    return '0'
  end
  if found ~= 'string' then
    return nil, 'WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a counter'
  end
  local value = redis.call('GET', key)
  -- At most 18 digits, so that no sum overflows.
  if #value > 18 or not (value == '0' or string.match(value, '^%-?[1-9]%d*$')) then
    return nil, 'WRONGTYPE ' .. key .. ' is not a counter: its value is no number, or too large'
  end
  return value
end

local last, wrong = number_at(KEYS[1])
if wrong then
  return redis.error_reply(wrong)
end
if tonumber(ARGV[1]) <= tonumber(last) then
  return 0
end
for i = 2, #KEYS do
  local _, unusable = number_at(KEYS[i])
  if not unusable and #ARGV[2 * i - 1] > 18 then
    unusable = 'ERRANGE ' .. KEYS[i] .. ' cannot count so many'
  end
  if unusable then
    return redis.error_reply(unusable)
  end
end

local first = redis.pcall('PEXPIRE', KEYS[1], 1000 * ARGV[2])
if type(first) == 'table' then
  return first
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
for i = 2, #KEYS do
  local at = 2 * i - 1
  redis.call('INCRBY', KEYS[i], ARGV[at])
  if ARGV[at + 1] ~= '0' then
    redis.call('EXPIRE', KEYS[i], ARGV[at + 1])
  end
end
return 1
