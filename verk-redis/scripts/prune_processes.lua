-- Removes the names of processes that are not shown any more.
--
-- KEYS  1 processes  2.. ID
-- ARGV  the IDs, in the order of the keys
-- Returns how many were removed.
--
-- Atomic, so that a process that is shown again meanwhile keeps its place.

local pruned = 0
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    pruned = pruned + redis.call('SREM', KEYS[1], ARGV[i - 1])
  end
end
return pruned
