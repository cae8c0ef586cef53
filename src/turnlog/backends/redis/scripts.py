"""The Lua scripts of the Redis backend: each write of the port is one script on the keys of one shard, so it happens whole or not at all.

Redis undoes nothing when a script fails half-way; so each script looks first and writes last. ``schema.py`` says what lies under which key;
``base`` begins every key of a shard. Every script may be sent twice: the second says what the first did.
"""

from __future__ import annotations

from turnlog.backends.redis.lua import HEAD, INDEX, LEASE, PLACE, Script

APPEND = Script(
    INDEX
    + PLACE
    + LEASE
    + """
-- head; base, session, now, expected revision ("" or "=" and it), "1" if an id comes twice, seconds that a session may outlive its ttl,
-- then id and record of each
local base, member, now, expect = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local head = redis.call('HMGET', KEYS[1], 'run', 'counter', 'length', 'offset', 'agent', 'user', 'parent', 'ttl', 'updated')
local run, ttl = head[1], head[8]
if not run or ttl and tonumber(head[9]) + tonumber(ttl) <= tonumber(now) then return {'none'} end
local counter, length, offset = tonumber(head[2]), tonumber(head[3]), tonumber(head[4])
local size = (#ARGV - 6) / 2
local records, places = base .. 'r:' .. run, base .. 'i:' .. run
if ARGV[5] == '1' then return {'twice', run, counter, length + offset} end
local known, other = 0, false
for i = 7, #ARGV, 2 do
  local seq = redis.call('HGET', places, ARGV[i])
  if seq then
    known = known + 1
    local stored, given = redis.call('HGET', records, seq), ARGV[i + 1]
    -- The time, which stands first, may differ.
    other = other or not stored
      or string.sub(stored, string.find(stored, '\\n', 1, true), -1) ~= string.sub(given, string.find(given, '\\n', 1, true), -1)
  end
end
if known > 0 and known < size then return {'part', run, counter, known} end
if other then return {'other', run, counter, length + offset} end
if known == size then return {'known', run, counter, length + offset} end
if expect ~= '' and expect ~= '=' .. run .. '.' .. head[2] then return {'stale', run, counter, length + offset} end
whole(records, places, index_names(base, head[5], head[6], head[7]))
if ttl then whole(base .. 'c:' .. run, unpack(own(base, run, KEYS[1]))) end
place(records, places, 7, length)
redis.call('HSET', KEYS[1], 'counter', counter + 1, 'length', length + size, 'updated', now)
redis.call('ZADD', base .. 'x:t', now, member)
index(base, 'x:a:', member, nil, head[5], now)
index(base, 'x:u:', member, nil, head[6], now)
index(base, 'x:p:', member, nil, head[7], now)
if ttl then
  redis.call('ZADD', base .. 'x:e', tonumber(now) + tonumber(ttl), member)
  lease(base, run, KEYS[1], ttl, ARGV[6])
end
return {'stored', run, counter + 1, length + size + offset}
"""
)

PUT_HEAD = Script(
    INDEX
    + PLACE
    + LEASE
    + HEAD
    + """
-- head; base, session, token, expected revision ("" for no session, or "=" and it), "1" if an id comes twice,
-- seconds that a session may outlive its ttl, the head, then id and record of each; gives 0 for another revision, 2 where ids or places
-- are taken, 3 where a fork has a ttl from now on, and 1 else
local base, member, token = ARGV[1], ARGV[2], ARGV[1] .. 'z:' .. ARGV[3]
local done = redis.call('GET', token)
if done then return tonumber(done) end
local old = stored(KEYS[1])
if (old[1] and '=' .. old[1] .. '.' .. old[2] or '') ~= ARGV[4] then return 0 end
local run = ARGV[7]
if closed(base, run) then return 0 end
whole_head(base, KEYS[1], old, 7)
if #ARGV > 17 then
  local records, places = base .. 'r:' .. run, base .. 'i:' .. run
  if ARGV[5] == '1' or redis.call('EXISTS', records, places) > 0 then return 2 end
  place(records, places, 18, 0)
end
put(base, KEYS[1], member, old, 7, ARGV[6])
done = ARGV[14] ~= '' and ARGV[17] ~= '' and not (old[7] and old[1] == run) and 3 or 1
redis.call('SET', token, done, 'EX', 30)
return done
"""
)

REMOVE_HEAD = Script(
    INDEX
    + """
-- head; base, session, token, run, expected revision ("" or "=" and it)
local base, member, run = ARGV[1], ARGV[2], ARGV[4]
if redis.call('EXISTS', base .. 'z:' .. ARGV[3]) == 1 then return 1 end
local old = redis.call('HMGET', KEYS[1], 'run', 'length', 'agent', 'user', 'parent', 'counter', 'ttl')
if old[1] ~= run or ARGV[5] ~= '' and ARGV[5] ~= '=' .. run .. '.' .. old[6] then return 0 end
whole(base .. 'r:' .. run, index_names(base, old[3], old[4], old[5]))
if redis.call('EXISTS', base .. 'r:' .. run) == 1 then redis.call('HSET', base .. 'r:' .. run, 'end', old[2]) end
for i, name in ipairs({'a', 'u', 'p'}) do index(base, 'x:' .. name .. ':', member, old[2 + i]) end
redis.call('ZREM', base .. 'x:t', member)
redis.call('ZREM', base .. 'x:n', member)
if old[7] then redis.call('ZREM', base .. 'x:e', member) end
redis.call('DEL', KEYS[1])
redis.call('SET', base .. 'z:' .. ARGV[3], '', 'EX', 30)
return 1
"""
)

DROP_RECORDS = Script(
    """
-- head; base, run, start, stop (-1 for the end), how many at most; gives where to go on, or -1
local base, run, start, stop = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local records, places = base .. 'r:' .. run, base .. 'i:' .. run
if start == 0 and stop < 0 then
  redis.call('UNLINK', records, places)
  return -1
end
if stop < 0 then
  local head = redis.call('HMGET', KEYS[1], 'run', 'length')
  stop = tonumber(head[1] == run and head[2] or redis.call('HGET', records, 'end') or 0)
end
local last = math.min(stop, start + tonumber(ARGV[5]))
for seq = start, last - 1 do
  local record = redis.call('HGET', records, seq)
  if record then
    local at = 0
    for _ = 1, 3 do at = string.find(record, '\\n', at + 1, true) end
    redis.call('HDEL', places, string.sub(record, at + 1))
    redis.call('HDEL', records, seq)
  end
end
return last < stop and last or -1
"""
)

PUT_ROW = Script(
    """
-- head; base, run, kind, key, body
local base, run, key = ARGV[1], ARGV[2], ARGV[4]
if redis.call('HGET', KEYS[1], 'run') ~= run then return 0 end
local rows = base .. 'w:' .. ARGV[3] .. ':' .. run
local stored = redis.call('HGET', rows, key)
local number = stored and string.match(stored, '^%d+') or redis.call('INCR', base .. 'n')
redis.call('HSET', rows, key, number .. '\\n' .. ARGV[5])
local left = redis.call('PTTL', KEYS[1])
if left > 0 then redis.call('PEXPIRE', rows, left) end
return 1
"""
)

FORMAT = Script(
    """
-- format; the newest format, shards to begin with ("" to create and change nothing)
local found = redis.call('HGET', KEYS[1], 'format')
if ARGV[2] ~= '' and redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'format', ARGV[1], 'shards', ARGV[2])
elseif ARGV[2] ~= '' and tonumber(found or '') and tonumber(found) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'format', ARGV[1])
end
return redis.call('HMGET', KEYS[1], 'format', 'shards')
"""
)

HOLDS = Script(
    """
-- any key of the shard; base, then runs; gives 1 for each run that has records or paths here
local found = {}
for i = 2, #ARGV do
  found[i - 1] = redis.call('EXISTS', ARGV[1] .. 'r:' .. ARGV[i], ARGV[1] .. 'w:path:' .. ARGV[i])
end
return found
"""
)
