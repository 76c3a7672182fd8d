-- Renews the heartbeat of a node, and its name if the node holds the name. Returns what the node
-- looks for as often: whether other nodes live, and which queues are paused.
--
-- KEYS  1 verk:node:NODE  2 verk:name:NAME  3 verk:node:NODE:info  4 verk_nodes  5 paused
--       6.. the heartbeats of nodes
-- ARGV  1 time to live in milliseconds  2 NODE  3 time to live of the info in seconds
--       4 most members of a set to return
-- Returns {1 if the heartbeat existed, else 0; seconds of the server's time of day; microseconds;
--         the id of the server's run and its role, as far as this user may know; how many of KEYS
--         from 6 on exist; then of 4 and 5: the members, or false if they are too many or the key
--         is no set}
--
-- Atomic, so that a name that was lost between the check and the renewal is not renewed for another
-- node. Creates nothing: a node whose heartbeat is gone was declared dead, and must learn that. The
-- first command is PEXPIRE, which a full Redis allows.

local alive = redis.call('PEXPIRE', KEYS[1], ARGV[1])
if alive == 1 then
  redis.call('EXPIRE', KEYS[3], ARGV[3])
end
if alive == 1 and redis.call('TYPE', KEYS[2]).ok == 'string'
  and redis.call('GET', KEYS[2]) == ARGV[2] then
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
local now = redis.call('TIME')
local function info(section, pattern)
  local text = redis.pcall('INFO', section)
  return type(text) == 'string' and string.match(text, pattern) or ''
end
local server = info('server', 'run_id:(%w+)') .. ' ' .. info('replication', 'role:(%w+)')
local function members(key)
  local count = redis.pcall('SCARD', key)
  if type(count) == 'number' and count <= tonumber(ARGV[4]) then
    return redis.call('SMEMBERS', key)
  end
  return false
end
local beating = #KEYS > 5 and redis.call('EXISTS', unpack(KEYS, 6)) or 0
return { alive, now[1], now[2], server, beating, members(KEYS[4]), members(KEYS[5]) }
