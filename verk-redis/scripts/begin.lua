-- Applies the effects of the start of a job that a node holds.
--
-- KEYS  1 inprogress:Q:NODE  2.. the keys of the effects
-- ARGV  1 HELD  2.. the effects: see `effects.lua`
-- Returns 1 done; 0 nothing, because the node does not hold the job; or an error.
--
-- Atomic, so that a job that another node has frees no lock. The first write is a command that a
-- full Redis allows. After it, Redis allows all others.

local held, wrong = read('list', 'LPOS', KEYS[1], ARGV[1])
if wrong then
  return redis.error_reply(wrong)
end
if not held then
  return NOT_HELD
end
local effects = read_effects(2)
local mine = effects.of[1]
local unusable = look_at(effects, mine)
if type(unusable) == 'string' then
  return redis.error_reply(unusable)
end
local first = redis.pcall('LTRIM', KEYS[1], 0, -1)
if first.err then
  return first
end
apply(effects, mine)
return DONE
