-- Comes before each script that moves jobs: what a step does besides moving its job.
--
-- A table in ARGV has the effects of all jobs: "effects" COUNT MARKS LOCKS QUEUES, then COUNT times
--       INDEX_OF_JOB "unlock" LOCK JID QUEUE Q
--       | INDEX_OF_JOB "relock" LOCK JID QUEUE Q PLACE PAYLOAD
--       | INDEX_OF_JOB "hold" LOCK JID QUEUE Q PLACE MILLISECONDS
--       | INDEX_OF_JOB "lock" LOCK JID QUEUE Q PLACE PAYLOAD CLASS MILLISECONDS
-- MARKS, LOCKS, QUEUES, LOCK and QUEUE are indexes in KEYS. PLACE, PAYLOAD and MILLISECONDS may be
-- "". Without effects there is no table.
--
-- A lock is a hash: jid, class, place, since, touched, rev, conflicts; and payload, if its job may
-- be replaced; and next, next_jid, next_class, next_queue, if a job waits for it. LOCKS is the set
-- of the ids of all locks, by the time at which they end. MARKS is the set of the keys in which a
-- job with effects was stored.

local SUPERSEDED = 3
local ID_DIGITS = 32
local effect_words = { unlock = 6, relock = 8, hold = 8, lock = 10 }

-- The server's time in seconds, and the same as text.
local function server_time()
  local now = redis.call('TIME')
  local text = now[1] .. '.' .. string.format('%06d', now[2])
  return tonumber(text), text
end

local function id_of(lock)
  return string.sub(lock, -ID_DIGITS)
end

-- Gives a lock a time to live, or none, and its place in the set of all locks.
local function set_end(locks, lock, milliseconds)
  if milliseconds == '' then
    redis.call('PERSIST', lock)
    redis.call('ZADD', locks, '+inf', id_of(lock))
    return
  end
  local now = server_time()
  redis.call('PEXPIRE', lock, milliseconds)
  redis.call('ZADD', locks, now + tonumber(milliseconds) / 1000, id_of(lock))
  -- Those that ended do not pile up.
  local ended = redis.call('ZRANGEBYSCORE', locks, '-inf', now, 'LIMIT', 0, 10)
  if #ended > 0 then
    redis.call('ZREM', locks, unpack(ended))
  end
end

local function touch(lock)
  local _, now = server_time()
  redis.call('HSET', lock, 'touched', now)
  redis.call('HINCRBY', lock, 'rev', 1)
end

-- Frees a lock. If a job waits for it, that job comes to the queue, and gets the lock.
local function free(keys, lock, queue, name)
  local waiting = redis.call('HMGET', lock, 'next', 'next_jid', 'next_class')
  if not waiting[1] then
    redis.call('DEL', lock)
    redis.call('ZREM', keys.locks, id_of(lock))
    return
  end
  redis.pcall('SADD', keys.queues, name)
  redis.call('LPUSH', queue, waiting[1])
  redis.call('SADD', keys.marks, queue)
  local _, now = server_time()
  redis.call('HSET', lock, 'jid', waiting[2], 'class', waiting[3] or '', 'place', 'queue ' .. name,
    'since', now, 'payload', waiting[1])
  redis.call('HDEL', lock, 'next', 'next_jid', 'next_class', 'next_queue')
  touch(lock)
end

-- Reads the table, if it starts at the word FIRST. Returns the effects and the word after them; or
-- nil and FIRST.
local function read_effects(first)
  if ARGV[first] ~= 'effects' then
    return nil, first
  end
  local function key(at)
    return KEYS[tonumber(ARGV[at])]
  end
  local effects = {
    marks = key(first + 2), locks = key(first + 3), queues = key(first + 4), of = {},
  }
  local at = first + 5
  for _ = 1, tonumber(ARGV[first + 1]) do
    local job, kind = tonumber(ARGV[at]), ARGV[at + 1]
    effects.of[job] = effects.of[job] or {}
    table.insert(effects.of[job], {
      kind = kind, lock = key(at + 2), jid = ARGV[at + 3], queue = key(at + 4), name = ARGV[at + 5],
      place = ARGV[at + 6], last = ARGV[at + 7], class = ARGV[at + 8], ends = ARGV[at + 9],
    })
    at = at + effect_words[kind]
  end
  return effects, at
end

-- Looks at what the effects of a job meet, before the first write for it. Returns nil if it may be
-- moved; or the result of the job if nothing can be done; or SUPERSEDED.
local function look_at(effects, mine)
  local unusable = check(effects.marks, 'set') or check(effects.locks, 'zset')
  local verdict
  for _, effect in ipairs(mine) do
    unusable = unusable or check(effect.lock, 'hash') or check(effect.queue, 'list')
    if unusable then
      return unusable
    end
    local holder = redis.call('HGET', effect.lock, 'jid')
    effect.is_ours = holder == effect.jid
    if effect.kind == 'lock' and holder and not effect.is_ours then
      return { holder }
    end
    if (effect.kind == 'relock' or effect.kind == 'hold') and effect.is_ours
      and redis.call('HEXISTS', effect.lock, 'next') == 1 then
      verdict = SUPERSEDED
    end
  end
  return verdict
end

-- The job of the effects is gone, and the job that waited for its lock comes.
local function supersede(effects, mine)
  for _, effect in ipairs(mine) do
    if effect.is_ours then
      free(effects, effect.lock, effect.queue, effect.name)
    end
  end
end

-- Applies the effects of a job that went to the key TO, or away.
local function apply(effects, mine, to)
  for _, effect in ipairs(mine) do
    local lock, kind = effect.lock, effect.kind
    if to and kind ~= 'unlock' then
      redis.call('SADD', effects.marks, to)
    end
    if kind == 'lock' then
      local _, now = server_time()
      redis.call('HSET', lock, 'jid', effect.jid, 'class', effect.class, 'since', now)
      set_end(effects.locks, lock, effect.ends)
    end
    if kind == 'unlock' then
      supersede(effects, { effect })
    elseif effect.is_ours or kind == 'lock' then
      if effect.place ~= '' then
        redis.call('HSET', lock, 'place', effect.place)
      end
      if kind == 'hold' then
        set_end(effects.locks, lock, effect.last)
      elseif effect.last ~= '' then
        redis.call('HSET', lock, 'payload', effect.last)
      end
      touch(lock)
    end
  end
end
