-- Reads some entries of a list or of a sorted set in order, and skips those without some texts.
--
-- KEYS  1 the list or the set
-- ARGV  1 "list" or "zset": what KEYS[1] is
--       2 "oldest" or "newest": the end that is read first. That is the right end of a list, or the
--         lowest score of a set; or the other
--       3 "", or a score of the set: all members that come before it are passed over
--       4 how many entries are passed over; with a score, of those that have it
--       5 most entries to return  6 most entries to examine
--       7 most bytes to examine (at least one entry is examined)
--       8.. texts: only entries that have all of them are returned
-- Returns these values:
--       1 how many entries KEYS[1] has  2 how many were passed over  3 how many were examined
--       of a set from which at least one was examined, else false:
--       4 the score of the first that was examined
--       5 how many members with this score were not passed over
--       6 the score of the last that was examined
--       7 how many members with this score were passed over or examined
--       then for each entry: how many were examined before it, the entry, and its score or false
--
-- A script, because only the server knows the size of the entries, and what they have, before they
-- are sent. Atomic, so that the counts are those of the entries. Writes nothing.
--
-- 1. Each page has twice as many entries as the one before, but no more than fit on average, so
--    that few large entries are read without need.
-- 2. In the middle of a long list each page costs a walk through the list, so there the pages grow
--    faster.
-- 3. The text of a score costs as much as the search of an entry. With texts, only the scores that
--    are returned are made.

local key, kind, is_oldest_first = KEYS[1], ARGV[1], ARGV[2] == 'oldest'
local FIRST_TEXT, DEEP, MOST_IN_DEPTH = 8, 10000, 512
local from_score, skip = ARGV[3], tonumber(ARGV[4])
local limit, most, room = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local is_set, has_filter = kind == 'zset', #ARGV >= FIRST_TEXT

local len, wrong = read(kind, is_set and 'ZCARD' or 'LLEN', key)
if not len then
  return redis.error_reply(wrong)
end

-- How many members come before those with this score.
local function before(score, oldest_first)
  if oldest_first then
    return redis.call('ZCOUNT', key, '-inf', '(' .. score)
  end
  return redis.call('ZCOUNT', key, '(' .. score, '+inf')
end

local start = skip
if from_score ~= '' then
  local equal = redis.call('ZCOUNT', key, from_score, from_score)
  start = before(from_score, is_oldest_first) + math.min(skip, equal)
end
start = math.min(start, len)

local with_scores = is_set and not has_filter
local width = with_scores and 2 or 1

-- The entries from FIRST to LAST, counted from the end that is read first. Those at the right end
-- of a list come in the other order.
local function read_page(first, last)
  if is_set then
    local options = {}
    if not is_oldest_first then
      options[#options + 1] = 'REV'
    end
    if with_scores then
      options[#options + 1] = 'WITHSCORES'
    end
    return redis.call('ZRANGE', key, first, last, unpack(options))
  elseif is_oldest_first then
    return redis.call('LRANGE', key, -1 - last, -1 - first)
  end
  return redis.call('LRANGE', key, first, last)
end

local reply = { len, start, 0, false, false, false, false }
local examined, found, bytes = 0, 0, 0
local first_entry, first_score, last_entry, last_score

-- Examines the entries of a page. Returns whether more may be examined.
local function examine(page)
  local count = #page / width
  for i = 1, count do
    local at = (i - 1) * width + 1
    if not is_set and is_oldest_first then
      at = count + 1 - i
    end
    local entry, score = page[at], with_scores and page[at + 1]
    bytes = bytes + #entry
    if found == limit or bytes > room and examined > 0 then
      return false
    end
    first_entry, first_score = first_entry or entry, first_score or score
    last_entry, last_score = entry, score
    if has_texts(entry, FIRST_TEXT) then
      found = found + 1
      reply[#reply + 1] = examined
      reply[#reply + 1] = entry
      reply[#reply + 1] = score or is_set and redis.call('ZSCORE', key, entry)
    end
    examined = examined + 1
  end
  return true
end

local is_deep = not is_set and math.min(start, len - start) > DEEP
local more = is_deep and 8 or 1
while examined < most and found < limit do
  more = math.min(more, most - examined)
  local page = read_page(start + examined, start + examined + more - 1)
  if not examine(page) or #page < more * width then
    break
  end
  if is_deep then
    local fitting = math.floor((room - bytes) * examined / math.max(bytes, 1))
    more = math.max(1, math.min(8 * more, MOST_IN_DEPTH, fitting))
  else
    more = next_page(more, examined, bytes, room)
  end
end

reply[3] = examined
if is_set and first_entry then
  first_score = first_score or redis.call('ZSCORE', key, first_entry)
  last_score = last_score or redis.call('ZSCORE', key, last_entry)
  reply[4] = first_score
  reply[5] = len - start - before(first_score, not is_oldest_first)
  reply[6] = last_score
  reply[7] = start + examined - before(last_score, is_oldest_first)
end
return reply
