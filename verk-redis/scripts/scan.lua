-- Reads some members of a sorted set in no order, and skips those without some texts.
--
-- KEYS  1 the set
-- ARGV  1 the cursor: 0, or what the call before returned  2 most members to examine
--       3 most bytes to examine
--       4.. texts: only members that have all of them are returned
-- Returns {the next cursor, or 0 at the end; how many members were examined; the members, each
-- followed by its score}.
--
-- A script, because only the server knows the size of the members, and what they have, before they
-- are sent. ZSCAN returns whole buckets, so a few more may be examined. Writes nothing. Reads twice
-- as many each time, but no more than fit on average, so that few large members are read without
-- need.

local key, cursor = KEYS[1], ARGV[1]
local most, room = tonumber(ARGV[2]), tonumber(ARGV[3])
local found, examined, bytes = {}, 0, 0
local more = 1
repeat
  local step = redis.pcall('ZSCAN', key, cursor, 'COUNT', math.min(more, most - examined))
  if step.err then
    return step
  end
  cursor = step[1]
  local members = step[2]
  for i = 1, #members, 2 do
    examined = examined + 1
    bytes = bytes + #members[i]
    if has_texts(members[i], 4) then
      found[#found + 1] = members[i]
      found[#found + 1] = members[i + 1]
    end
  end
  more = next_page(more, examined, bytes, room)
until cursor == '0' or examined >= most or bytes >= room
return { cursor, examined, found }
