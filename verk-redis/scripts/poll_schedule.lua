-- Takes or renews the lease on moving due jobs, and returns when the next are due.
--
-- KEYS  1 verk:schedule_manager  2 schedule  3 retry  4 verk:crondue  5 verk:unique:suspects
--       6 dead
-- ARGV  1 NODE  2 time to live in milliseconds
-- Returns {-1 if the node has the lease now, else for how many ms another node has it; then of 2 to
-- 6: the lowest score, or false; how many members 6 has}. The score of a key that is no sorted set
-- is "-inf", and it has no members.
--
-- Atomic, so that only one of two nodes that ask at once gets the lease; one script, so that an
-- idle node sends few requests. Jobs are safe without the lease: if its key has another type, every
-- node has it. The first write is a command that a full Redis allows. After it, Redis allows all
-- others.

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

local dead = redis.pcall('ZCARD', KEYS[6])
return {
  left, first(KEYS[2]), first(KEYS[3]), first(KEYS[4]), first(KEYS[5]), first(KEYS[6]),
  type(dead) == 'number' and dead or 0,
}
