"""The Lua scripts of the Redis backend: each write of the port is one script on the keys of one shard, so it happens whole or not at all.

Redis undoes nothing when a script fails half-way; so each script looks first and writes last. ``base`` begins every key of the shard:

    h:<session>          hash: run, counter, length, offset, updated, body; agent, user, parent where there are any
    r:<run>              hash: sequence number -> record; "end" -> where the run ended, once it has left its session
    i:<run>              hash: message id -> sequence number
    w:<kind>:<run>       hash: key -> order of first storing, line break, row
    n                    the last order given
    c:<run>, c           hash: child run -> claim; set of the runs that have claims
    m, m:<session>       hash: run -> mark; set of the marked runs of a session
    x:t                  sorted set of all sessions by time; x:a:<agent>, x:u:<user>, x:p:<parent> those of one
    x:n                  sorted set of all sessions by name
    z:<token>            half a minute long: the head change of that token was made, so that a repeat of it says so

Every script may be sent twice: the second says what the first did.
"""

from __future__ import annotations

from hashlib import sha1


class Script:
    """A script and its SHA-1 digest, under which a server remembers it."""

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()


_INDEX = """
-- In a Cluster, where slots are moved key by key: fails before anything is written if one of the keys has already gone or is yet to come.
local function whole(...)
  if KEYS[2] then redis.call('EXISTS', ...) end
end

local function index_names(base, agent, user, parent)
  local names = {}
  if agent then names[#names + 1] = base .. 'x:a:' .. agent end
  if user then names[#names + 1] = base .. 'x:u:' .. user end
  if parent then names[#names + 1] = base .. 'x:p:' .. parent end
  return unpack(names)
end

local function index(base, kind, member, old, new, updated)
  if old and old ~= new then redis.call('ZREM', base .. kind .. old, member) end
  if new then redis.call('ZADD', base .. kind .. new, updated, member) end
end
"""

_PLACE = """
local function place(records, places, first, length)
  local values, ids = {}, {}
  for i = first, #ARGV, 2 do
    local seq = length + (i - first) / 2
    values[#values + 1], values[#values + 2] = seq, ARGV[i + 1]
    ids[#ids + 1], ids[#ids + 2] = ARGV[i], seq
    if #values >= 1000 or i + 1 >= #ARGV then
      redis.call('HSET', records, unpack(values))
      redis.call('HSET', places, unpack(ids))
      values, ids = {}, {}
    end
  end
end
"""

APPEND = Script(
    _INDEX
    + _PLACE
    + """
-- head; base, session, now, expected revision ("" or "=" and it), "1" if an id comes twice, then id and record of each
local base, member, now, expect = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local head = redis.call('HMGET', KEYS[1], 'run', 'counter', 'length', 'offset', 'agent', 'user', 'parent')
local run = head[1]
if not run then return {'none'} end
local counter, length, offset = tonumber(head[2]), tonumber(head[3]), tonumber(head[4])
local size = (#ARGV - 5) / 2
local records, places = base .. 'r:' .. run, base .. 'i:' .. run
if ARGV[5] == '1' then return {'twice', run, counter, length + offset} end
local known, other = 0, false
for i = 6, #ARGV, 2 do
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
whole(records, places, base .. 'x:t', index_names(base, head[5], head[6], head[7]))
place(records, places, 6, length)
redis.call('HSET', KEYS[1], 'counter', counter + 1, 'length', length + size, 'updated', now)
redis.call('ZADD', base .. 'x:t', now, member)
index(base, 'x:a:', member, nil, head[5], now)
index(base, 'x:u:', member, nil, head[6], now)
index(base, 'x:p:', member, nil, head[7], now)
return {'stored', run, counter + 1, length + size + offset}
"""
)

PUT_HEAD = Script(
    _INDEX
    + _PLACE
    + """
-- head; base, session, token, expected revision ("" for no session, or "=" and it), "1" if an id comes twice,
-- run, counter, length, offset, updated, body, agent, user, parent, then id and record of each
local base, member = ARGV[1], ARGV[2]
if redis.call('EXISTS', base .. 'z:' .. ARGV[3]) == 1 then return 1 end
local old = redis.call('HMGET', KEYS[1], 'run', 'counter', 'agent', 'user', 'parent', 'length')
if (old[1] and '=' .. old[1] .. '.' .. old[2] or '') ~= ARGV[4] then return 0 end
local run, updated = ARGV[6], ARGV[10]
local mark = redis.call('HGET', base .. 'm', run)
if mark and string.sub(mark, 1, 1) == '1' then return 0 end
local records, places = base .. 'r:' .. run, base .. 'i:' .. run
local news = {}
for i = 1, 3 do news[i] = ARGV[11 + i] ~= '' and string.sub(ARGV[11 + i], 2) or false end
whole(records, places, base .. 'x:t', base .. 'x:n', index_names(base, old[3], old[4], old[5]))
whole(base .. 'm', index_names(base, news[1], news[2], news[3]))
if #ARGV > 14 then
  if ARGV[5] == '1' or redis.call('EXISTS', records, places) > 0 then return 2 end
  place(records, places, 15, 0)
end
local left = base .. 'r:' .. (old[1] or '')
if old[1] and old[1] ~= run and redis.call('EXISTS', left) == 1 then redis.call('HSET', left, 'end', old[6]) end
local fields = {'run', run, 'counter', ARGV[7], 'length', ARGV[8], 'offset', ARGV[9], 'updated', updated, 'body', ARGV[11]}
for i, name in ipairs({'agent', 'user', 'parent'}) do
  local new = news[i]
  if new then fields[#fields + 1], fields[#fields + 2] = name, new end
  index(base, 'x:' .. string.sub(name, 1, 1) .. ':', member, old[2 + i], new, updated)
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('ZADD', base .. 'x:t', updated, member)
redis.call('ZADD', base .. 'x:n', 0, member)
redis.call('SET', base .. 'z:' .. ARGV[3], '', 'EX', 30)
return 1
"""
)

REMOVE_HEAD = Script(
    _INDEX
    + """
-- head; base, session, token, run, expected revision ("" or "=" and it)
local base, member, run = ARGV[1], ARGV[2], ARGV[4]
if redis.call('EXISTS', base .. 'z:' .. ARGV[3]) == 1 then return 1 end
local old = redis.call('HMGET', KEYS[1], 'run', 'length', 'agent', 'user', 'parent', 'counter')
if old[1] ~= run or ARGV[5] ~= '' and ARGV[5] ~= '=' .. run .. '.' .. old[6] then return 0 end
whole(base .. 'r:' .. run, base .. 'x:t', base .. 'x:n', index_names(base, old[3], old[4], old[5]))
if redis.call('EXISTS', base .. 'r:' .. run) == 1 then redis.call('HSET', base .. 'r:' .. run, 'end', old[2]) end
for i, name in ipairs({'a', 'u', 'p'}) do index(base, 'x:' .. name .. ':', member, old[2 + i]) end
redis.call('ZREM', base .. 'x:t', member)
redis.call('ZREM', base .. 'x:n', member)
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
return 1
"""
)

ADD_REFERENCE = Script(
    """
-- head of the parent; base, run, child run, claim
local base, run = ARGV[1], ARGV[2]
local mark = redis.call('HGET', base .. 'm', run)
if mark and string.sub(mark, 1, 1) == '1' then return 0 end
redis.call('HSET', base .. 'c:' .. run, ARGV[3], ARGV[4])
redis.call('SADD', base .. 'c', run)
return 1
"""
)

DROP_REFERENCE = Script(
    """
-- head of the parent; base, run, child run
local base, run = ARGV[1], ARGV[2]
redis.call('HDEL', base .. 'c:' .. run, ARGV[3])
if redis.call('EXISTS', base .. 'c:' .. run) == 0 then redis.call('SREM', base .. 'c', run) end
return 1
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

FORMAT = Script(
    """
-- format; format to begin with, shards to begin with ("" to create nothing)
if ARGV[2] ~= '' and redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'format', ARGV[1], 'shards', ARGV[2])
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

_MATCHING = """
-- Bytes are compared one by one: Lua's own order of strings follows the locale of the server.
local function below(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- A member with its head if that is there and has the agent, user and parent asked for ("" or "=" and it).
local function matching(base, member, agent, user, parent)
  local head = redis.call('HMGET', base .. 'h:' .. member, 'run', 'counter', 'length', 'updated', 'body', 'agent', 'user', 'parent')
  if not head[1] then return nil end
  for i, wanted in ipairs({agent, user, parent}) do
    if wanted ~= '' and wanted ~= '=' .. (head[5 + i] or '') or wanted == '=' and not head[5 + i] then return nil end
  end
  return {member, head[1], head[2], head[3], head[4], head[5]}
end
"""

LIST_BY_TIME = Script(
    _MATCHING
    + """
-- index; base, how many, how many to look at, since, until ("" for none), time and session to go on behind ("" for none),
-- prefix, agent, user, parent; gives 1 if it looked at enough and there is more, time and session it looked at last, then the heads
local base, wanted, patience, since, before, at, name, prefix = unpack(ARGV, 1, 8)
wanted, patience = tonumber(wanted), tonumber(patience)
local rank = before ~= '' and redis.call('ZCOUNT', KEYS[1], before, '+inf') or 0
if at ~= '' then
  local low = redis.call('ZCOUNT', KEYS[1], '(' .. at, '+inf')
  local high = low + redis.call('ZCOUNT', KEYS[1], at, at)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if below(redis.call('ZREVRANGE', KEYS[1], middle, middle)[1], name) then high = middle else low = middle + 1 end
  end
  rank = math.max(rank, low)
end
local found = {0, '', ''}
local seen = 0
while #found - 3 < wanted do
  if seen >= patience then
    found[1] = 1
    break
  end
  local some = math.min(wanted - #found + 3 + seen, patience - seen, 1000)
  local entries = redis.call('ZREVRANGE', KEYS[1], rank, rank + some - 1, 'WITHSCORES')
  for i = 1, #entries, 2 do
    if since ~= '' and tonumber(entries[i + 1]) < tonumber(since) then return found end
    if string.sub(entries[i], 1, #prefix) == prefix then
      local head = matching(base, entries[i], ARGV[9], ARGV[10], ARGV[11])
      if head then found[#found + 1] = head end
    end
    found[2], found[3] = entries[i + 1], entries[i]
    if #found - 3 == wanted then return found end
  end
  if #entries < 2 * some then break end
  rank, seen = rank + some, seen + some
end
return found
"""
)

LIST_BY_NAME = Script(
    _MATCHING
    + """
-- names; base, how many, since, until, time and session to go on behind ("" for none), first name, name behind the last, rare,
-- agent, user, parent; gives the heads, or nothing at all where more than `rare` names lie in the range
local base, wanted, since, before, at, name, first, last, rare = unpack(ARGV, 1, 9)
if redis.call('ZLEXCOUNT', KEYS[1], first, last) > tonumber(rare) then return false end
local entries = {}
for _, member in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], first, last)) do
  local time = tonumber(redis.call('ZSCORE', base .. 'x:t', member))
  local behind = at == '' or time < tonumber(at) or time == tonumber(at) and below(member, name)
  if behind and (since == '' or time >= tonumber(since)) and (before == '' or time < tonumber(before)) then
    entries[#entries + 1] = {member, time}
  end
end
table.sort(entries, function(a, b) return a[2] > b[2] or a[2] == b[2] and below(b[1], a[1]) end)
local found = {}
for _, entry in ipairs(entries) do
  local head = matching(base, entry[1], ARGV[10], ARGV[11], ARGV[12])
  if head then found[#found + 1] = head end
  if #found == tonumber(wanted) then break end
end
return found
"""
)
