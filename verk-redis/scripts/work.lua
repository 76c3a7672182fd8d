-- Reads running jobs that processes report.
--
-- KEYS  for each process: ID, ID:work, ID:workers
-- ARGV  1 the cursor of the first process, 0 for its beginning  2 most jobs
--       3 most bytes (at least one job is read)
-- Returns {the process that is read next, from 0, or -1 after the last; its cursor;
--         then for each job: its process, from 0; its thread id; the job}
--
-- A script, because only the server knows the size of the jobs before they are sent. Writes
-- nothing. A step of HSCAN may bring a few jobs more than it was asked for. A process that is not
-- shown has no jobs, nor has a key of another type.

local limit, room = tonumber(ARGV[2]), tonumber(ARGV[3])
local cursor = ARGV[1]
local answer, count, bytes, more = { -1, '0' }, 0, 0, 1

for process = 0, #KEYS / 3 - 1 do
  local shown, work, workers = unpack(KEYS, 3 * process + 1, 3 * process + 3)
  local key = redis.call('EXISTS', work) == 1 and work or workers
  if redis.call('EXISTS', shown) == 0 then
    key, cursor = shown, '0'
  end
  repeat
    if count >= limit or bytes >= room then
      answer[1], answer[2] = process, cursor
      return answer
    end
    more = math.max(1, math.min(more, limit - count))
    local step = redis.pcall('HSCAN', key, cursor, 'COUNT', more)
    cursor = step.err and '0' or step[1]
    local found = step.err and {} or step[2]
    for i = 1, #found, 2 do
      answer[#answer + 1] = process
      answer[#answer + 1] = found[i]
      answer[#answer + 1] = found[i + 1]
      count = count + 1
      bytes = bytes + #found[i + 1]
    end
    more = next_page(more, count, bytes, room)
  until cursor == '0'
end
return answer
