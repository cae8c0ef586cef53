"""Pages of heads out of the sorted sets of the shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turnlog.backends.port import Query
from turnlog.backends.redis.keys import unpack_head
from turnlog.backends.redis.list_scripts import LIST_BY_NAME, LIST_BY_TIME, LIST_EXPIRED
from turnlog.backends.redis.server import Server
from turnlog.backends.text_keys import after_prefix, from_key, to_key
from turnlog.heads import Head

RARE = 2_000
"""Sessions that share a prefix up to which they are sorted; more are looked for in the order of time. As many expired ones at a time."""
PATIENCE = 5_000
"""Entries that one script looks at, a few milliseconds; then others get their turn."""


async def list_page(server: Server, bases: Sequence[str], query: Query, behind: tuple[float, str] | None, limit: int) -> list[Head]:
    """The first ``limit`` heads that match, newest first, of all shards; each shard is asked for little more than its part of them."""
    if len(bases) == 1:
        return await list_shard(server, bases[0], query, behind, limit)
    share = limit // len(bases) + 1
    waiting: dict[str, list[Head]] = {base: [] for base in bases}
    places = dict.fromkeys(bases, behind)
    found: list[Head] = []
    while len(found) < limit:
        for base in [base for base in places if not waiting[base]]:
            heads = waiting[base] = await list_shard(server, base, query, places[base], share)
            if len(heads) < share:
                del places[base]
            else:
                places[base] = (heads[-1].updated_at, heads[-1].session_id)
        best = max((base for base in bases if waiting[base]), key=lambda base: _order(waiting[base][0]), default=None)
        if best is None:
            break
        found.append(waiting[best].pop(0))
    return found


def _order(head: Head) -> tuple[float, str]:
    return head.updated_at, to_key(head.session_id)


async def list_shard(server: Server, base: str, query: Query, behind: tuple[float, str] | None, limit: int) -> list[Head]:
    """The first ``limit`` heads of a shard that match, newest first, behind a time and a session."""
    at, name = (repr(behind[0]), to_key(behind[1])) if behind else ("", "")
    since, until = _time(query.since), _time(query.until)
    wanted = ["" if text is None else "=" + to_key(text) for text in (query.agent_name, query.user_id, query.parent_id)]
    prefix = to_key(query.prefix)
    if query.expired_at is not None:
        behind_it = (until, at, name, prefix, *wanted, _time(query.expired_at))
        return await _expired(server, base, query.since, behind_it, limit)
    if prefix:
        above = after_prefix(prefix)
        span = (f"[{prefix}", "+" if above is None else f"({above}")
        rows = await server.run(LIST_BY_NAME, f"{base}x:n", base, limit, since, until, at, name, *span, RARE, *wanted, write=False)
        if rows is not None:
            return [_head(row) for row in rows]
    index = f"{base}{_index(query)}"
    found: list[Head] = []
    while True:
        values: tuple[str | int, ...] = (base, limit - len(found), PATIENCE, since, until, at, name, prefix, *wanted)
        more, last, member, *rows = await server.run(LIST_BY_TIME, index, *values, write=False)
        found += [_head(row) for row in rows]
        if not more:
            return found
        at, name = last.decode(), member.decode()


async def _expired(server: Server, base: str, since: float | None, asked: Sequence[str], limit: int) -> list[Head]:
    """The newest of all expired heads: they lie in the order of their expiry, so each page looks at all of them."""
    newest: list[Head] = []
    rank: str | int = ""
    while True:
        rank, *rows = await server.run(LIST_EXPIRED, f"{base}x:e", base, limit, _time(since), *asked, rank, RARE, write=False)
        found = {head.session_id: head for head in [*newest, *map(_head, rows)]}
        newest = sorted(found.values(), key=_order, reverse=True)[:limit]
        if rank == 0:
            return newest
        if len(newest) == limit:
            since = newest[-1].updated_at


def _index(query: Query) -> str:
    """The sorted set with the fewest sessions to look at."""
    for kind, text in (("p", query.parent_id), ("u", query.user_id), ("a", query.agent_name)):
        if text is not None:
            return f"x:{kind}:{to_key(text)}"
    return "x:t"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else repr(float(seconds))


def _head(row: list[Any]) -> Head:
    member, *fields = row
    return unpack_head(from_key(member.decode()), fields)
