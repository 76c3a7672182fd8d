-- Stores a job, unless one was stored with this key before.
--
-- KEYS  1 verk:seen:KEY  2 queues  3 schedule  4 retry  5 marks  6 locks  7 suspects
--       8 verk:moved  9.. the queue of the job, and its lock
-- ARGV  1 REQUEST  2 for how many milliseconds the key is remembered  3 JID  4 the queue of the
--       job, or ""  5 after how many seconds without a step a lock is a suspect  6 how many jobs of
--       a queue are searched for one that is replaced
--       then the job: "queue" INDEX_IN_KEYS Q JOB | "set" SCORE JOB | "job" ..: see `locking.lua`
-- Returns the result of the job as `locking.lua` has it; or {"seen", the jid of the job that was
-- stored with the key, the REQUEST of that} if nothing was stored.
--
-- Atomic, so that of two requests with one key, one stores its job, and a job that is stored is
-- remembered. The first write of the job is one that a full Redis refuses. After it, Redis allows
-- all others.

local seen, schedule = KEYS[1], KEYS[3]
local wrong = moved_away(KEYS[8], ARGV[4], 'arriving') or check(seen, 'string')
if wrong then
  return wrong
end
local known = redis.call('GET', seen)
if known then
  local request, jid = string.match(known, '^(%S*) (.*)$')
  return { 'seen', jid or '', request or '' }
end

local kind, stored = ARGV[7], nil
if kind == 'queue' then
  local queue = KEYS[tonumber(ARGV[8])]
  local pushed, refused = read('list', 'LPUSH', queue, ARGV[10])
  if not pushed then
    return refused
  end
  redis.pcall('SADD', KEYS[2], ARGV[9])
  stored = DONE
elseif kind == 'set' then
  local added, refused = read('zset', 'ZADD', schedule, ARGV[8], ARGV[9])
  if not added then
    return refused
  end
  stored = DONE
else
  stored = store_locked({
    queues = KEYS[2], schedule = schedule, retry = KEYS[4],
    marks = KEYS[5], locks = KEYS[6], suspects = KEYS[7],
    suspect_after = tonumber(ARGV[5]), most = tonumber(ARGV[6]),
  }, read_locked_job(7))
  local has_failed = type(stored) == 'string'
  local is_duplicate = type(stored) == 'table' and stored[2]
  if has_failed or is_duplicate then
    return type(stored) == 'table' and stored[3] or stored
  end
end
redis.call('SET', seen, ARGV[1] .. ' ' .. ARGV[3], 'PX', ARGV[2])
return stored
