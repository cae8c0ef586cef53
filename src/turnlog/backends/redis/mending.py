"""Bringing a store back in line with its heads, which are the truth: entries of indexes lost or left over, claims of lost forks."""

from __future__ import annotations

from collections.abc import Sequence

from turnlog.backends.redis.fork_scripts import ALL_CLAIMS, GONE
from turnlog.backends.redis.keys import Keys, unpack_claim
from turnlog.backends.redis.lua import Script
from turnlog.backends.redis.server import Server
from turnlog.backends.text_keys import to_key
from turnlog.heads import Reference

LOOKED_AT = 1_000
"""Keys of a server, or entries of an index, that are looked at in one go."""
AT_ONCE = 500
"""Heads or entries that one script mends, a few milliseconds."""

PERIOD = 3_600
"""Seconds in which sweeps look at all heads once: about half a minute of the server's time for a million sessions."""

_FIELDS = {"x:a:": "agent", "x:u:": "user", "x:p:": "parent", "x:e": "ttl"}

INDEX_HEADS = Script(
    """
-- a head; base, then sessions
local base = ARGV[1]
for i = 2, #ARGV do
  local member = ARGV[i]
  local head = redis.call('HMGET', base .. 'h:' .. member, 'updated', 'agent', 'user', 'parent', 'ttl')
  if head[1] then
    redis.call('ZADD', base .. 'x:t', head[1], member)
    redis.call('ZADD', base .. 'x:n', 0, member)
    for at, kind in ipairs({'a', 'u', 'p'}) do
      if head[1 + at] then redis.call('ZADD', base .. 'x:' .. kind .. ':' .. head[1 + at], head[1], member) end
    end
    if head[5] then redis.call('ZADD', base .. 'x:e', tonumber(head[1]) + tonumber(head[5]), member) end
  end
end
return 1
"""
)

CHECK_INDEX = Script(
    """
-- index; base, field of the heads that it is about ("" for none), value that the field must have ("" for any), then sessions
local base, field, value = ARGV[1], ARGV[2], ARGV[3]
for i = 4, #ARGV do
  local has = redis.call('HGET', base .. 'h:' .. ARGV[i], field == '' and 'run' or field)
  if not has or value ~= '' and has ~= value then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return 1
"""
)


async def is_due(server: Server, keys: Keys) -> bool:
    """Whether nobody has mended the store for a while; says so once."""
    (reply,) = await server.ask(keys.mended, ("SET", keys.mended, "", "NX", "EX", PERIOD))
    return reply is not None


async def mend(server: Server, keys: Keys) -> None:
    """Look at every head and every index of the store, beside its writers. Needs SCAN, and goes over all keys of the servers."""
    for place in await server.line.primaries():
        cursor = b"0"
        while True:
            ((cursor, names),) = await server.ask(place, ("SCAN", cursor.decode(), "MATCH", keys.pattern, "COUNT", LOOKED_AT))
            heads: dict[str, list[str]] = {}
            for name in names:
                base, _, rest = name.decode().partition("}:")
                base += "}:"
                if base not in keys.bases:
                    continue
                if rest.startswith("h:"):
                    heads.setdefault(base, []).append(rest[2:])
                elif rest.startswith("x:"):
                    await _check(server, base, rest)
            for base, members in heads.items():
                await _index(server, base, members)
            if cursor == b"0":
                break


async def _index(server: Server, base: str, members: Sequence[str]) -> None:
    for first in range(0, len(members), AT_ONCE):
        some = members[first : first + AT_ONCE]
        await server.run(INDEX_HEADS, f"{base}h:{some[0]}", base, *some)


async def _check(server: Server, base: str, index: str) -> None:
    """Take out what has no head, or one that is not about what the index is about."""
    kind = index[:4]
    value = index[4:] if kind in ("x:a:", "x:u:", "x:p:") else ""
    cursor = b"0"
    while True:
        ((cursor, entries),) = await server.ask(base + index, ("ZSCAN", base + index, cursor.decode(), "COUNT", LOOKED_AT))
        members = [member.decode() for member in entries[::2]]
        for first in range(0, len(members), AT_ONCE):
            some = members[first : first + AT_ONCE]
            await server.run(CHECK_INDEX, base + index, base, _FIELDS.get(kind, ""), value, *some)
        if cursor == b"0":
            break


async def all_claims(server: Server, keys: Keys) -> list[tuple[Reference, bool]]:
    """Every claim, and whether its child was born."""
    found: list[tuple[Reference, bool]] = []
    for base in keys.bases:
        found += map(unpack_claim, await server.run(ALL_CLAIMS, f"{base}c", base, write=False))
    return found


async def gone_children(server: Server, keys: Keys) -> list[Reference]:
    """The claims of forks that the server has dropped by itself. Those on their way into life, or being erased, are not among them."""
    claims: dict[str, list[tuple[Reference, str]]] = {}
    for claim, born in await all_claims(server, keys):
        if born:
            name = to_key(claim.child_id)
            claims.setdefault(keys.bases[keys.shard(name)], []).append((claim, name))
    found: list[Reference] = []
    for base, children in claims.items():
        for first in range(0, len(children), AT_ONCE):
            some = children[first : first + AT_ONCE]
            asked = [text for claim, name in some for text in (name, claim.child_run)]
            gone = await server.run(GONE, f"{base}m", base, *asked, write=False)
            found += [claim for (claim, _), is_gone in zip(some, gone, strict=True) if is_gone]
    return found
