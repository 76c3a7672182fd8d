-- Stores jobs that take unique locks.
--
-- KEYS  1 queues  2 schedule  3 retry  4 marks  5 locks  6 suspects  7 verk:moved
--       8.. locks and queues of jobs
-- ARGV  1 after how many seconds without a step a lock is a suspect  2 how many jobs of a queue are
--       searched for one that is replaced
--       then the jobs, at most 100: see `locking.lua`
-- Returns the result of each job.
--
-- Atomic, so that of two jobs that are the same, one gets the lock, and so that a job that has a
-- lock is stored.

local keys = {
  queues = KEYS[1], schedule = KEYS[2], retry = KEYS[3],
  marks = KEYS[4], locks = KEYS[5], suspects = KEYS[6], moved = KEYS[7],
  suspect_after = tonumber(ARGV[1]), most = tonumber(ARGV[2]),
}

return each_job({ job = LOCKED_JOB_WORDS }, 3, function(at)
  local stored = store_locked(keys, read_locked_job(at))
  return type(stored) == 'table' and stored[3] or stored
end)
