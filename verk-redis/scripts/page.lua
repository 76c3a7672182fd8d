-- Reads a page of a list.
--
-- KEYS  1 the list
-- ARGV  1 how many entries to skip  2 most entries  3 most bytes (at least one entry is read)
-- Returns the entries.
--
-- A script, because only the server knows the size of the entries before they are sent. Writes
-- nothing. Reads twice as many each time, but no more than fit on average, so that few large
-- entries are read without need.

local offset = tonumber(ARGV[1])
local limit, room = tonumber(ARGV[2]), tonumber(ARGV[3])

local entries, bytes = {}, 0
local more = 1
while #entries < limit do
  more = math.min(more, limit - #entries)
  local first = offset + #entries
  local page = redis.pcall('LRANGE', KEYS[1], first, first + more - 1)
  if page.err then
    return page
  end
  for i = 1, #page do
    bytes = bytes + #page[i]
    if bytes > room and #entries > 0 then
      return entries
    end
    entries[#entries + 1] = page[i]
  end
  if #page < more then
    return entries
  end
  more = next_page(more, #entries, bytes, room)
end
return entries
