"""Lua that the scripts of the Redis backend share, and what a script is to Python."""

from __future__ import annotations

from hashlib import sha1


class Script:
    """A script and its SHA-1 digest, under which a server remembers it."""

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()


INDEX = """
-- In a Cluster, where slots are moved key by key: fails before anything is written if one of the keys has already gone or is yet to come.
local function whole(...)
  if KEYS[2] then redis.call('EXISTS', ...) end
end

local function index_names(base, agent, user, parent)
  local names = {base .. 'x:t', base .. 'x:n', base .. 'x:e'}
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

PLACE = """
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

LEASE = """
-- What lies in a run, and the head that is at its end if `key` names one.
local function own(base, run, key)
  local names = {base .. 'r:' .. run, base .. 'i:' .. run}
  for _, kind in ipairs({'snapshot', 'undo', 'path', 'draft', 'turn'}) do names[#names + 1] = base .. 'w:' .. kind .. ':' .. run end
  names[#names + 1] = key
  return names
end

-- The server drops a session by itself when its time is over, unless a fork needs its run; without `ttl` it stays.
local function lease(base, run, key, ttl, grace)
  local names = own(base, run, key)
  if ttl and redis.call('EXISTS', base .. 'c:' .. run) == 0 then
    local life = string.format('%.0f', math.max(1, math.min((tonumber(ttl) + tonumber(grace)) * 1000, 9e15)))
    for _, name in ipairs(names) do redis.call('PEXPIRE', name, life) end
  else
    for _, name in ipairs(names) do redis.call('PERSIST', name) end
  end
end
"""

HEAD = """
local function closed(base, run)
  local mark = redis.call('HGET', base .. 'm', run)
  return mark and string.sub(mark, 1, 1) == '1'
end

local function stored(key)
  return redis.call('HMGET', key, 'run', 'counter', 'length', 'agent', 'user', 'parent', 'ttl')
end

-- A head is given as run, counter, length, offset, shed, updated, body, ttl, agent, user, parent, from ARGV[at] on.
local function given(value)
  return value ~= '' and string.sub(value, 2) or false
end

local function whole_head(base, key, old, at)
  if not KEYS[2] then return end
  whole(base .. 'm', base .. 'c:' .. ARGV[at], unpack(own(base, ARGV[at], key)))
  whole(base .. 'r:' .. (old[1] or ''), index_names(base, old[4], old[5], old[6]))
  whole(index_names(base, given(ARGV[at + 8]), given(ARGV[at + 9]), given(ARGV[at + 10])))
end

-- `old` is what is stored under `key`.
local function put(base, key, member, old, at, grace)
  local run, updated, ttl = ARGV[at], ARGV[at + 5], ARGV[at + 7]
  local agent, user, parent = given(ARGV[at + 8]), given(ARGV[at + 9]), given(ARGV[at + 10])
  local fields = {
    'run', run, 'counter', ARGV[at + 1], 'length', ARGV[at + 2], 'offset', ARGV[at + 3], 'shed', ARGV[at + 4],
    'updated', updated, 'body', ARGV[at + 6]
  }
  local function set(name, value)
    if value then fields[#fields + 1], fields[#fields + 2] = name, value end
  end
  set('ttl', ttl ~= '' and ttl)
  set('agent', agent)
  set('user', user)
  set('parent', parent)
  if old[1] then
    local left = base .. 'r:' .. old[1]
    if old[1] ~= run and redis.call('EXISTS', left) == 1 then redis.call('HSET', left, 'end', old[3]) end
    redis.call('DEL', key)
  end
  redis.call('HSET', key, unpack(fields))
  index(base, 'x:a:', member, old[4], agent, updated)
  index(base, 'x:u:', member, old[5], user, updated)
  index(base, 'x:p:', member, old[6], parent, updated)
  redis.call('ZADD', base .. 'x:t', updated, member)
  redis.call('ZADD', base .. 'x:n', 0, member)
  if ttl ~= '' then
    redis.call('ZADD', base .. 'x:e', tonumber(updated) + tonumber(ttl), member)
  elseif old[7] then
    redis.call('ZREM', base .. 'x:e', member)
  end
  if ttl ~= '' or old[7] then lease(base, run, key, ttl ~= '' and ttl, grace) end
end
"""
