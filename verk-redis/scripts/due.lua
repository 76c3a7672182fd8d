-- Reads the members of a sorted set that are due.
--
-- KEYS  1 schedule or retry
-- ARGV  1 now  2 how many to pass over  3 most members  4 most bytes (at least one member is read)
-- Returns {the members; the score of the first after them, or false}.
--
-- Atomic, so that the score is that of the next member. Writes nothing. Reads twice as many each
-- time, but no more than fit on average, so that few large members are read without need.

local now, offset = tonumber(ARGV[1]), tonumber(ARGV[2])
local limit, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local due, bytes = {}, 0
local more = 1
while true do
  local from = offset + #due
  -- Reads one more than may be taken, for its score.
  more = math.min(more, limit + 1 - #due)
  local page = redis.pcall('ZRANGE', KEYS[1], from, from + more - 1, 'WITHSCORES')
  if page.err then
    return page
  end
  for i = 1, #page, 2 do
    bytes = bytes + #page[i]
    if tonumber(page[i + 1]) > now or #due == limit or (bytes > room and #due > 0) then
      return { due, page[i + 1] }
    end
    due[#due + 1] = page[i]
  end
  if #page < 2 * more then
    return { due, false }
  end
  more = next_page(more, #due, bytes, room)
end
