-- Takes or renews the lease on moving due jobs, and tells when the next are due.
--
-- KEYS  1 verk:schedule_manager  2 schedule  3 retry
-- ARGV  1 NODE  2 time to live in milliseconds
-- Returns {-1 when the node has the lease now, else for how many milliseconds another has it; the lowest
--         score of 2, or false; the lowest score of 3, or false}. The score of what is no sorted set is "-inf".
--
-- Atomic, so that of two nodes that ask at once one gets the lease; all in one, so that an idle node sends
-- little. The lease is advice: where its key is of another type, everybody has it. The first write is one
-- that a full Redis allows; after it, so are the others.

local holder = redis.pcall('GET', KEYS[1])
local left = -1
if type(holder) ~= 'table' then
  if holder and holder ~= ARGV[1] then
    left = math.max(-1, redis.call('PTTL', KEYS[1]))
  end
  if left == -1 then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    if holder ~= ARGV[1] then
      redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    end
  end
end

local function first(key)
  local member = redis.pcall('ZRANGE', key, 0, 0, 'WITHSCORES')
  return member.err and '-inf' or member[2] or false
end

return { left, first(KEYS[2]), first(KEYS[3]) }
