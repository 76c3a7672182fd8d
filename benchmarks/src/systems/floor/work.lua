-- Settles the jobs that are done and fetches the next, in one trip.
--
-- KEYS  1 queue:Q  2 inprogress:Q:NODE  3 verk:node:NODE  4 verk_nodes  5 verk:node:NODE:queues
-- ARGV  1 most jobs  2 most bytes  3 NODE  4 Q  5.. the payloads of the done jobs, oldest first
-- Returns how many of those were held, then the payloads of the next jobs, oldest first. If the
-- heartbeat of the node is gone, returns only the number, and fetches nothing.
--
-- Keeps the rules of verk's scripts: types are checked before the first write, which a full Redis
-- allows; a job is added before it is removed; a job that is not held is not settled; the node is
-- registered again.

local function check(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    return 'WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. wanted
  end
end

local queue, inprogress = KEYS[1], KEYS[2]
local wrong = check(queue, 'list') or check(inprogress, 'list')
  or check(KEYS[4], 'set') or check(KEYS[5], 'set')
if wrong then
  return redis.error_reply(wrong)
end
local first = redis.pcall('LTRIM', inprogress, 0, -1)
if first.err then
  return first
end

-- The done jobs are most often all held jobs: they are compared and cut off at once.
local done = #ARGV - 4
local held = 0
if done > 0 then
  local oldest = redis.call('LRANGE', inprogress, -done, -1)
  held = #oldest
  for i = 1, done do
    if oldest[done - i + 1] ~= ARGV[4 + i] then
      held = 0
      break
    end
  end
  if held == done then
    redis.call('LTRIM', inprogress, 0, -1 - done)
  else
    held = 0
    for i = 1, done do
      held = held + redis.call('LREM', inprogress, -1, ARGV[4 + i])
    end
  end
end

if redis.call('EXISTS', KEYS[3]) == 0 then
  return { held }
end
redis.call('SADD', KEYS[4], ARGV[3])
redis.call('SADD', KEYS[5], ARGV[4])

local max_jobs, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local page = redis.call('LRANGE', queue, -max_jobs, -1)
local jobs = {}
for i = #page, 1, -1 do
  room = room - #page[i]
  if room < 0 and #jobs > 0 then
    break
  end
  jobs[#jobs + 1] = page[i]
end
if #jobs > 0 then
  redis.call('LPUSH', inprogress, unpack(jobs))
  redis.call('LTRIM', queue, 0, -1 - #jobs)
end
return { held, unpack(jobs) }
