-- Reads a page of a list or of a sorted set.
--
-- KEYS  1 the list or the set
-- ARGV  1 "left" or "right", the end at which a list begins, or "set"  2 how many entries to skip
--       3 most entries  4 most bytes (at least one entry is read)
-- Returns the entries; those of a set are each followed by the score.
--
-- A script, because only the server knows the size of the entries before they are sent. Writes
-- nothing. Reads twice as many each time, but no more than fit on average, so that few large
-- entries are read without need.

local kind, offset = ARGV[1], tonumber(ARGV[2])
local limit, room = tonumber(ARGV[3]), tonumber(ARGV[4])
local width = kind == 'set' and 2 or 1

local function read(first, last)
  if kind == 'set' then
    return redis.pcall('ZRANGE', KEYS[1], first, last, 'WITHSCORES')
  elseif kind == 'left' then
    return redis.pcall('LRANGE', KEYS[1], first, last)
  end
  local page = redis.pcall('LRANGE', KEYS[1], -1 - last, -1 - first)
  local reversed = { err = page.err }
  for i = #page, 1, -1 do
    reversed[#reversed + 1] = page[i]
  end
  return reversed
end

local entries, count, bytes = {}, 0, 0
local more = 1
while count < limit do
  more = math.min(more, limit - count)
  local page = read(offset + count, offset + count + more - 1)
  if page.err then
    return page
  end
  for i = 1, #page, width do
    bytes = bytes + #page[i]
    if bytes > room and count > 0 then
      return entries
    end
    for j = i, i + width - 1 do
      entries[#entries + 1] = page[j]
    end
    count = count + 1
  end
  if #page < more * width then
    return entries
  end
  more = next_page(more, count, bytes, room)
end
return entries
