-- Adds the counts of a node to counters, once.
--
-- KEYS  1 verk:node:NODE:stats  2.. counters, then hashes of counters, then arrays of counters of
--       16 bits
-- ARGV  1 the number of the report  2 time to live of KEYS[1] in seconds  3 how many counters
--       4 how many hashes
--       then for each counter: its time to live in seconds, or 0 for none; how much to add
--       then for each hash and each array: its time to live; how many words follow; then pairs of a
--       field or index and how much to add
-- Returns 1 if it was added, 0 if a report with this number or a higher one was added before.
--
-- Atomic, so that a report that is sent twice counts once, and in all counters or in none. Hashes
-- and arrays are only shown to people: one of another type is skipped. The first write is a command
-- that a full Redis allows. After it, Redis allows all others.

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
local last_counter = 1 + ARGV[3]
local last_hash = last_counter + ARGV[4]
for i = 2, last_counter do
  local _, unusable = number_at(KEYS[i])
  if not unusable and #ARGV[2 * i + 2] > 18 then
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
local at = 5
for i = 2, last_counter do
  redis.call('INCRBY', KEYS[i], ARGV[at + 1])
  if ARGV[at] ~= '0' then
    redis.call('EXPIRE', KEYS[i], ARGV[at])
  end
  at = at + 2
end
for i = last_counter + 1, #KEYS do
  local key, ttl, words = KEYS[i], ARGV[at], ARGV[at + 1]
  at = at + 2
  for word = at, at + words - 1, 2 do
    if i <= last_hash then
      redis.pcall('HINCRBY', key, ARGV[word], ARGV[word + 1])
    else
      redis.pcall('BITFIELD', key, 'OVERFLOW', 'SAT', 'INCRBY', 'u16', '#' .. ARGV[word], ARGV[word + 1])
    end
  end
  redis.call('EXPIRE', key, ttl)
  at = at + words
end
return 1
