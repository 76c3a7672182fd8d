-- Reads the members of a sorted set that are due.
--
-- KEYS  1 schedule or retry
-- ARGV  1 now  2 how many to pass over  3 most members  4 most bytes (at least one member is read)
-- Returns {the members; the score of the first after them, or false}.
--
-- Atomic, so that the score is of the member that follows. Writes nothing. Reads twice as many each time, so
-- that large members are not read in vain.

local MOST = 64

local now, offset = tonumber(ARGV[1]), tonumber(ARGV[2])
local limit, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local due = {}
local more = 1
while true do
  local from = offset + #due
  local page = redis.pcall('ZRANGE', KEYS[1], from, from + more - 1, 'WITHSCORES')
  if page.err then
    return page
  end
  for i = 1, #page, 2 do
    room = room - #page[i]
    if tonumber(page[i + 1]) > now or #due == limit or (room < 0 and #due > 0) then
      return { due, page[i + 1] }
    end
    due[#due + 1] = page[i]
  end
  if #page < 2 * more then
    return { due, false }
  end
  more = math.min(2 * more, MOST)
end
