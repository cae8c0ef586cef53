"""The Lua scripts that list heads out of the indexes of a shard, and take out entries whose head has gone by itself."""

from __future__ import annotations

from turnlog.backends.redis.lua import Script

_MATCHING = """
-- Bytes are compared one by one: Lua's own order of strings follows the locale of the server.
local function below(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local gone = {}

-- A member with its head if that is there and has the agent, user and parent asked for ("" or "=" and it).
local function matching(base, member, agent, user, parent, expired)
  local head = redis.call('HMGET', base .. 'h:' .. member, 'run', 'counter', 'length', 'updated', 'body', 'agent', 'user', 'parent', 'ttl')
  if not head[1] then
    gone[#gone + 1] = member
    return nil
  end
  for i, wanted in ipairs({agent, user, parent}) do
    if wanted ~= '' and wanted ~= '=' .. (head[5 + i] or '') or wanted == '=' and not head[5 + i] then return nil end
  end
  if expired and not (head[9] and tonumber(head[4]) + tonumber(head[9]) <= tonumber(expired)) then return nil end
  return {member, head[1], head[2], head[3], head[4], head[5]}
end

-- A user who may only read lists all the same; the sweep of another takes the entries out.
local function mend(base, index)
  for first = 1, #gone, 1000 do
    for _, name in ipairs({index, base .. 'x:t', base .. 'x:n', base .. 'x:e'}) do
      redis.pcall('ZREM', name, unpack(gone, first, math.min(first + 999, #gone)))
    end
  end
end

-- Members with the times of their heads, newest first; only those from `since` to `before` and behind a time and a session.
local function in_order(base, members, since, before, at, name)
  local entries = {}
  for _, member in ipairs(members) do
    local time = tonumber(redis.call('HGET', base .. 'h:' .. member, 'updated') or '')
    if not time then
      gone[#gone + 1] = member
    elseif (at == '' or time < tonumber(at) or time == tonumber(at) and below(member, name))
      and (since == '' or time >= tonumber(since)) and (before == '' or time < tonumber(before)) then
      entries[#entries + 1] = {member, time}
    end
  end
  table.sort(entries, function(a, b) return a[2] > b[2] or a[2] == b[2] and below(b[1], a[1]) end)
  return entries
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
local function look()
  while #found - 3 < wanted do
    if seen >= patience then
      found[1] = 1
      return
    end
    local some = math.min(wanted - #found + 3 + seen, patience - seen, 1000)
    local entries = redis.call('ZREVRANGE', KEYS[1], rank, rank + some - 1, 'WITHSCORES')
    for i = 1, #entries, 2 do
      if since ~= '' and tonumber(entries[i + 1]) < tonumber(since) then return end
      if string.sub(entries[i], 1, #prefix) == prefix then
        local head = matching(base, entries[i], ARGV[9], ARGV[10], ARGV[11])
        if head then found[#found + 1] = head end
      end
      found[2], found[3] = entries[i + 1], entries[i]
      if #found - 3 == wanted then return end
    end
    if #entries < 2 * some then return end
    rank, seen = rank + some, seen + some
  end
end
look()
mend(base, KEYS[1])
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
local found = {}
for _, entry in ipairs(in_order(base, redis.call('ZRANGEBYLEX', KEYS[1], first, last), since, before, at, name)) do
  local head = matching(base, entry[1], ARGV[10], ARGV[11], ARGV[12])
  if head then found[#found + 1] = head end
  if #found == tonumber(wanted) then break end
end
mend(base, KEYS[1])
return found
"""
)

LIST_EXPIRED = Script(
    _MATCHING
    + """
-- index of expiries; base, how many, since, until, time and session to go on behind ("" for none), prefix, agent, user, parent,
-- when, rank to look below ("" for the first time), how many to look at; gives the rank to go on below, then the heads, newest first
local base, wanted, since, before, at, name, prefix = unpack(ARGV, 1, 7)
-- From the last on: so those that others take out, or that live on, move none of the rest out of what is yet to be looked at.
local top = ARGV[12] == '' and redis.call('ZCOUNT', KEYS[1], '-inf', ARGV[11]) or tonumber(ARGV[12])
local low = math.max(0, top - tonumber(ARGV[13]))
local found = {low}
if top == 0 then return found end
for _, entry in ipairs(in_order(base, redis.call('ZRANGE', KEYS[1], low, top - 1), since, before, at, name)) do
  if string.sub(entry[1], 1, #prefix) == prefix then
    local head = matching(base, entry[1], ARGV[8], ARGV[9], ARGV[10], ARGV[11])
    if head then found[#found + 1] = head end
    if #found > tonumber(wanted) then break end
  end
end
mend(base, KEYS[1])
return found
"""
)
