"""The Lua scripts about runs that sessions share: claims, marks, and forks, which are a claim and a head at once."""

from __future__ import annotations

from turnlog.backends.redis.lua import HEAD, INDEX, LEASE, Script

_CLAIM = """
-- Whether the head of `key` names `run` with `shed` messages shed: 'yes', 'moved', or 'look' where a head of format 1 does not tell.
-- Then `body`, of a head that the caller has looked at, says so for as long as it is the body. Also gives the ttl of the head.
-- `expect`: the revision and the length that it must have, behind "="; "" for any.
local function names(key, run, shed, body, expect)
  local head = redis.call('HMGET', key, 'run', 'shed', 'ttl', 'counter', 'length')
  if head[1] ~= run or expect ~= '' and expect ~= '=' .. run .. '.' .. head[4] .. '.' .. head[5] then return 'moved' end
  if not head[2] and body ~= '' and redis.call('HGET', key, 'body') == body then head[2] = shed end
  return not head[2] and 'look' or head[2] == shed and 'yes' or 'moved', head[3]
end

local function claim(base, run, child, text)
  redis.call('HSET', base .. 'c:' .. run, child, text)
  redis.call('SADD', base .. 'c', run)
end
"""

ADD_REFERENCE = Script(
    INDEX
    + LEASE
    + HEAD
    + _CLAIM
    + """
-- head of the parent; base, run, child run, claim, messages shed ("" to claim whatever the head says), body of the head, its revision
-- and length or ""
local base, run = ARGV[1], ARGV[2]
if closed(base, run) then return 'moved' end
if ARGV[5] ~= '' then
  local said = names(KEYS[1], run, ARGV[5], ARGV[6], ARGV[7])
  if said ~= 'yes' then return said end
end
whole(base .. 'c:' .. run, base .. 'c', unpack(own(base, run, KEYS[1])))
claim(base, run, ARGV[3], ARGV[4])
-- It waits for its forks: until the sweep erases it.
lease(base, run, redis.call('HGET', KEYS[1], 'run') == run and KEYS[1] or nil)
return 'stored'
"""
)

PUT_FORK = Script(
    INDEX
    + LEASE
    + HEAD
    + _CLAIM
    + """
-- head of the child; base, child, token, seconds that a session may outlive its ttl, base and head of the parent, run, claim,
-- messages shed, body of the parent's head or "", its revision and length or "", the child's head
local base, above, key, run, child = ARGV[1], ARGV[5], ARGV[6], ARGV[7], ARGV[12]
local token = base .. 'z:' .. ARGV[3]
local said, ttl = names(key, run, ARGV[9], ARGV[10], ARGV[11])
if said == 'yes' then
  if closed(above, run) then
    said = 'moved'
  elseif redis.call('EXISTS', KEYS[1]) == 1 or closed(base, child) then
    said = 'taken'
  end
end
if said ~= 'yes' then return redis.call('EXISTS', token) == 1 and 'stored' or said end
whole(above .. 'c:' .. run, above .. 'c', unpack(own(above, run, key)))
whole_head(base, KEYS[1], {}, 12)
claim(above, run, child, ARGV[8])
if ttl then lease(above, run, key) end
put(base, KEYS[1], ARGV[2], {}, 12, ARGV[4])
redis.call('SET', token, '', 'EX', 30)
return 'stored'
"""
)

NOTE_BIRTH = Script(
    """
-- head of the parent; base, run, child run; a claim is what `pack_claim` writes, and ends with a number until its child is born
local claims = ARGV[1] .. 'c:' .. ARGV[2]
local claim = redis.call('HGET', claims, ARGV[3])
if claim and string.sub(claim, -5) ~= 'true]' then redis.call('HSET', claims, ARGV[3], string.sub(claim, 1, -2) .. ', true]') end
return 1
"""
)

GONE = Script(
    """
-- any key of the shard; base, then session and run in turn; gives 1 for each run that no head, mark or claim knows
local base, found = ARGV[1], {}
for i = 2, #ARGV, 2 do
  local run = ARGV[i + 1]
  local known = redis.call('HGET', base .. 'h:' .. ARGV[i], 'run') == run
    or redis.call('HEXISTS', base .. 'm', run) == 1 or redis.call('EXISTS', base .. 'c:' .. run) == 1
  found[#found + 1] = known and 0 or 1
end
return found
"""
)

DROP_REFERENCE = Script(
    LEASE
    + """
-- head of the parent; base, run, child run, seconds that a session may outlive its ttl
local base, run = ARGV[1], ARGV[2]
local dropped = redis.call('HDEL', base .. 'c:' .. run, ARGV[3])
if redis.call('EXISTS', base .. 'c:' .. run) == 1 then return dropped end
redis.call('SREM', base .. 'c', run)
local head = redis.call('HMGET', KEYS[1], 'run', 'ttl')
if dropped == 1 and head[1] == run and head[2] then lease(base, run, KEYS[1], head[2], ARGV[4]) end
return dropped
"""
)

MARK_RUN = Script(
    """
-- head; base, session, run, "1" for closed, mark
local base, run, closed = ARGV[1], ARGV[3], ARGV[4]
local old = redis.call('HGET', base .. 'm', run)
if old and string.sub(old, 1, 1) == '1' then closed = '1' end
redis.call('HSET', base .. 'm', run, closed .. ARGV[5])
redis.call('SADD', base .. 'm:' .. ARGV[2], run)
return 1
"""
)


MARKED_RUNS = Script(
    """
-- head; base, session; gives run and mark in turn
local found = {}
for _, run in ipairs(redis.call('SMEMBERS', ARGV[1] .. 'm:' .. ARGV[2])) do
  local mark = redis.call('HGET', ARGV[1] .. 'm', run)
  if mark then found[#found + 1], found[#found + 2] = run, mark end
end
return found
"""
)


FORGET_RUN = Script(
    """
-- head; base, session, run
redis.call('HDEL', ARGV[1] .. 'm', ARGV[3])
redis.call('SREM', ARGV[1] .. 'm:' .. ARGV[2], ARGV[3])
return 1
"""
)


ALL_CLAIMS = Script(
    """
-- set of the runs with claims; base; gives the claims
local found = {}
for _, run in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  for _, claim in ipairs(redis.call('HVALS', ARGV[1] .. 'c:' .. run)) do found[#found + 1] = claim end
end
return found
"""
)
