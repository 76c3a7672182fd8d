-- Reads entries of the timetable: a page of them, or those with these names.
--
-- KEYS  1 verk:cron  2 verk:crondue
-- ARGV  1 how many to pass over  2 most entries  3 most bytes (at least one entry is read)
--       then names; without any, a page of those that are due first
-- Returns for each entry: {NAME; its score or false; definition, hash, revision, pause, orphaned,
-- runs, missed, skipped, last, each the text or false}. For a name that does not exist, the
-- definition is false.
--
-- A script, because only the server knows the size of the entries before they are sent, and so that
-- the fields are those of one moment. Writes nothing.

local wrong = wrong_timetable(KEYS[1], KEYS[2])
if wrong then
  return redis.error_reply(wrong)
end

local offset, limit, room = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local names = {}
for i = 4, #ARGV do
  names[#names + 1] = ARGV[i]
end
if #names == 0 and limit > 0 then
  names = redis.call('ZRANGE', KEYS[2], offset, offset + limit - 1)
end

local words = {
  'definition', 'hash', 'revision', 'pause', 'orphaned', 'runs', 'missed', 'skipped', 'last',
}
local entries, bytes = {}, 0
for i, name in ipairs(names) do
  local fields = {}
  for j, word in ipairs(words) do
    fields[j] = field(word, name)
  end
  local entry = { name, redis.call('ZSCORE', KEYS[2], name) }
  for j, value in ipairs(redis.call('HMGET', KEYS[1], unpack(fields))) do
    entry[j + 2] = value
    bytes = bytes + (value and #value or 0)
  end
  if bytes > room and i > 1 then
    return entries
  end
  entries[i] = entry
end
return entries
