"""Sessions on a Redis or Valkey server, for many threads, processes and machines.

Keys: schema.py says what lies where. All keys of a session share a hash tag with those of its shard, so every write of the port is one
Lua script, on one server and on a Cluster alike, and the indexes for listing are never behind. A store on one server has one shard; on a
Cluster it has 16, chosen by the session's id, and their number is kept beside the number of the format. A record is one field of its run's
hash, named by its sequence number, so any range is read by its length. Forks read their parent's run where it lies: on a Cluster the shards
are asked once which of them has it. A fork is one script where parent and child lie on one server or in one shard, else the claim and then
the child.

The keys of a session with a ttl that no fork needs expire too, so the server drops it by itself, ``grace`` seconds after its time: so far
apart clocks may be. What that leaves, entries of indexes and its claim on a parent, listing and the sweep take away; a session that forks
need stays until the sweep erases it. The sweep also looks at every head, once an hour or with ``compact=True``, and puts back what the
indexes have lost.

Durability is the server's. What an answer means after power loss is up to its settings: ``appendonly yes`` with ``appendfsync always``
keeps "power" (the answer comes after the fsync), ``appendfsync everysec`` may lose the last second, and without an append-only file a
restart goes back to the last dump. ``maxmemory-policy noeviction`` is needed: any other may evict sessions. Replication is asynchronous:
after a failover acknowledged writes may be gone unless ``wait`` names how many replicas must have each write before it is
acknowledged; set ``min-replicas-to-write`` too, so that a primary cut off from its replicas takes no more.

A write whose answer was lost is sent again on a fresh connection: message ids tell that an append was made, a token that lies on the
server for half a minute tells that a head was put or removed, and everything else may be done twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import takewhile
from typing import Any

from turnlog.backends.cursors import decode_cursor, encode_cursor
from turnlog.backends.port import Appended, Forked, Page, Query, RowKind
from turnlog.backends.redis import compacting, fork_scripts, scripts
from turnlog.backends.redis.keys import (
    HEAD_FIELDS,
    Keys,
    pack_claim,
    pack_head,
    pack_mark,
    pack_records,
    pairs,
    unpack_claim,
    unpack_head,
    unpack_mark,
    unpack_record,
)
from turnlog.backends.redis.listing import list_page
from turnlog.backends.redis.mending import all_claims, gone_children, is_due, mend
from turnlog.backends.redis.opening import TIMEOUT, line_of, line_to
from turnlog.backends.redis.scopes import Scopes
from turnlog.backends.redis.server import Server
from turnlog.backends.text_keys import from_key, to_key
from turnlog.errors import ConflictError, UnsupportedVerbError
from turnlog.heads import ClosedRun, Head, Parent, Reference, Stretch
from turnlog.messages import Record, new_token

KINDS: tuple[RowKind, ...] = ("snapshot", "undo", "path", "draft", "turn")
MOST_FIELDS = 1_000
"""Records that one command asks for, so that others get their turn."""
MOST_PIECES = 64
"""Pieces of runs that are asked for in one round trip."""
MOST_DROPPED = 5_000
"""Records that one script erases, a few milliseconds."""
GRACE = 60.0
"""Seconds that a session may outlive its ttl before the server drops it."""
HOMES = 10_000
"""Runs of which it is remembered where they lie."""

_FORKED: dict[bytes, Forked] = {b"stored": "stored", b"moved": "moved", b"taken": "taken"}
_WRONG = {
    "twice": "names a message id twice: give each message its own",
    "part": "is known in part: send it as it was, or with new ids",
    "other": "has known message ids with other content: send it as it was, or with new ids",
    "stale": "expects another revision: read the session again and decide anew",
}


class RedisBackend:
    """Implements Backend and SharedRuns. Give it a ``url`` (see ``open_backend``) or a redis-py ``client``, which stays open at ``close``.

    ``prefix`` begins every key, so that stores can share a server. ``wait``: replicas that must have each write. ``create``: whether the
    store may come to be. ``shards``: how a new store is split (None: 1 on one server, 16 on a Cluster). ``timeout``: seconds for
    connecting and for each answer, six times as long for a free connection. ``max_connections``: per server. ``grace``: seconds after its
    time at which the server drops a session with a ttl by itself.
    """

    copies = False

    def __init__(
        self,
        url: str | None = None,
        *,
        client: Any = None,
        asynchronous: bool = False,
        prefix: str = "turnlog",
        wait: int = 0,
        create: bool = True,
        shards: int | None = None,
        timeout: float = TIMEOUT,
        max_connections: int | None = None,
        grace: float = GRACE,
    ) -> None:
        if (url is None) == (client is None):
            raise UnsupportedVerbError("pass either a url or a client", verb="open", reason="no server")
        if not prefix or "{" in prefix or "}" in prefix:
            raise UnsupportedVerbError(f"a prefix is text without braces, not {prefix!r:.80}", verb="open", reason="no such prefix")
        if shards is not None and not 1 <= shards <= 1024:
            raise UnsupportedVerbError(f"shards must be 1 to 1024, not {shards}", verb="open", reason="no such number of shards")
        if not 0 <= grace < float("inf"):
            raise UnsupportedVerbError(f"grace must be 0 seconds or more, not {grace!r:.80}", verb="open", reason="no such time")
        line, usual = (
            line_of(client) if url is None else line_to(url, asynchronous=asynchronous, max_connections=max_connections, timeout=timeout)
        )
        self.blocking = line.blocking
        self._server = Server(line, wait=wait, patience=timeout * 0.8)
        self.prefix, self.shards, self._create = prefix, shards or usual, create
        self._grace = repr(float(grace))
        self._scopes = Scopes()
        self._keys: Keys | None = None
        self._homes: dict[str, int] = {}

    async def _ready(self) -> Keys:
        """The names of the keys; the first call makes sure of the format."""
        if self._keys is None:
            self._keys = Keys(self.prefix, await self._server.open(self.prefix, self.shards, create=self._create))
        return self._keys

    async def _place(self, session_id: str) -> tuple[str, str, str]:
        """The base of a session's shard, its id as a key, and the key of its head."""
        keys = self._keys or await self._ready()
        name = to_key(session_id)
        base = keys.bases[keys.shard(name)]
        return base, name, f"{base}h:{name}"

    # Heads ------------------------------------------------------------------------------------------------------------

    async def get_head(self, session_id: str) -> Head | None:
        """See Backend.get_head."""
        _, _, key = await self._place(session_id)
        (fields,) = await self._server.ask(key, ("HMGET", key, *HEAD_FIELDS))
        if fields[0] is None:
            return None
        head = unpack_head(session_id, fields)
        self._remember(head.run, session_id)
        if head.parent is not None:
            self._remember(head.parent.run, head.parent.session_id)
        return head

    async def put_head(self, head: Head, *, expect: str | None, records: Sequence[Record] = ()) -> bool:
        """See Backend.put_head."""
        base, name, key = await self._place(head.session_id)
        expected = "" if expect is None else "=" + to_key(expect)
        values = (base, name, new_token(), expected, _twice(records), self._grace, *pack_head(head), *pack_records(records))
        done = await self._server.run(scripts.PUT_HEAD, key, *values)
        if done == 2:
            text = f"run {head.run!r} cannot begin with these records: ids or places are taken"
            raise ConflictError(text, session_id=head.session_id, expected=expect)
        if done == 3:
            await self._note_birth(head)
        return bool(done)

    async def _note_birth(self, child: Head) -> None:
        """Tell the claim of a fork that will go by itself that its child was born, so that it may go too once the child has gone."""
        assert child.parent is not None
        base, _, key = await self._place(child.parent.session_id)
        await self._server.run(fork_scripts.NOTE_BIRTH, key, base, child.parent.run, child.run)

    async def remove_head(self, session_id: str, run: str, *, expect: str | None = None) -> bool:
        """See Backend.remove_head."""
        base, name, key = await self._place(session_id)
        expected = "" if expect is None else "=" + to_key(expect)
        return bool(await self._server.run(scripts.REMOVE_HEAD, key, base, name, new_token(), run, expected))

    async def list_heads(self, query: Query, *, cursor: str | None, limit: int) -> Page:
        """See Backend.list_heads."""
        behind = decode_cursor(cursor) if cursor is not None else None
        found = await list_page(self._server, (await self._ready()).bases, query, behind, limit + 1)
        heads, more = found[:limit], len(found) > limit
        return Page(heads, encode_cursor(heads[-1].updated_at, heads[-1].session_id) if more and heads else None)

    # Records ----------------------------------------------------------------------------------------------------------

    async def append(self, session_id: str, records: Sequence[Record], *, now: float, expect: str | None) -> Appended | None:
        """See Backend.append."""
        if self._scopes.any:
            self._scopes.pass_by(session_id)
        base, name, key = await self._place(session_id)
        expected = "" if expect is None else "=" + to_key(expect)
        values = (base, name, repr(float(now)), expected, _twice(records), self._grace, *pack_records(records))
        reply = await self._server.run(scripts.APPEND, key, *values)
        outcome = reply[0].decode()
        if outcome == "none":
            return None
        revision = f"{reply[1].decode()}.{reply[2]}"
        if outcome in _WRONG:
            text = f"the batch for session {session_id!r} {_WRONG[outcome]}"
            raise ConflictError(text, session_id=session_id, expected=expect, actual=revision)
        return Appended(revision, reply[3], outcome == "known")

    async def read(self, session_id: str, spans: Sequence[Stretch]) -> list[Record]:
        """See Backend.read. More than a thousand records take a second round trip."""
        bases = await self._homes_of({run for run, start, stop in spans if start < stop})
        found: list[Record] = []
        pieces: list[tuple[str, int, int]] = []
        for run, start, stop in spans:
            if run not in bases:
                continue
            name = f"{bases[run]}r:{run}"
            if stop - start > MOST_FIELDS and 2 * (await self._server.ask(name, ("HLEN", name)))[0] < stop - start:
                # Mostly nothing: what is there is fewer than what would have to be asked for.
                found += await self._read_pieces(pieces) + await self._read_whole(name, start, stop)
                pieces = []
                continue
            pieces += [(name, first, min(first + MOST_FIELDS, stop)) for first in range(start, stop, MOST_FIELDS)]
        return found + await self._read_pieces(pieces)

    async def _read_pieces(self, pieces: list[tuple[str, int, int]]) -> list[Record]:
        """The records of pieces of runs, in order; one round trip for those that follow each other in one shard."""
        found: list[Record] = []
        at = 0
        while at < len(pieces):
            shard = pieces[at][0].partition("}")[0]
            some = list(takewhile(lambda piece: piece[0].startswith(shard + "}"), pieces[at : at + MOST_PIECES]))  # noqa: B023
            commands = [("HMGET", name, *range(first, last)) for name, first, last in some]
            for (_, first, _), values in zip(some, await self._server.ask(some[0][0], *commands), strict=True):
                found += [unpack_record(seq, value) for seq, value in enumerate(values, first) if value is not None]
            at += len(some)
        return found

    async def _read_whole(self, name: str, start: int, stop: int) -> list[Record]:
        (reply,) = await self._server.ask(name, ("HGETALL", name))
        placed = sorted((int(field), value) for field, value in pairs(reply) if field.isdigit() and start <= int(field) < stop)
        return [unpack_record(seq, value) for seq, value in placed]

    async def drop_records(self, session_id: str, run: str, start: int, stop: int | None) -> None:
        """See Backend.drop_records. A long range is erased in steps, from its beginning."""
        base, _, key = await self._place(session_id)
        at, end = start, -1 if stop is None else stop
        while at >= 0:
            at = await self._server.run(scripts.DROP_RECORDS, key, base, run, at, end, MOST_DROPPED)

    async def _homes_of(self, runs: set[str]) -> dict[str, str]:
        """The base of the shard of each run that lies anywhere."""
        keys = self._keys or await self._ready()
        if keys.shards == 1:
            return dict.fromkeys(runs, keys.bases[0])
        if missing := [run for run in runs if run not in self._homes]:
            for shard, base in enumerate(keys.bases):
                holds = await self._server.run(scripts.HOLDS, f"{base}n", base, *missing, write=False)
                self._homes.update({run: shard for run, held in zip(missing, holds, strict=True) if held})
        return {run: keys.bases[self._homes[run]] for run in runs if run in self._homes}

    def _remember(self, run: str, session_id: str) -> None:
        if self._keys is not None and self._keys.shards > 1:
            if len(self._homes) >= HOMES:
                self._homes = {}
            self._homes[run] = self._keys.shard(to_key(session_id))

    # Rows -------------------------------------------------------------------------------------------------------------

    async def put_row(self, session_id: str, run: str, kind: RowKind, key: str, body: str) -> bool:
        """See Backend.put_row."""
        base, _, head = await self._place(session_id)
        return bool(await self._server.run(scripts.PUT_ROW, head, base, run, kind, to_key(key), body))

    async def get_rows(self, session_id: str, run: str, kind: RowKind, keys: Sequence[str] | None = None) -> dict[str, str]:
        """See Backend.get_rows."""
        base = (await self._homes_of({run})).get(run) if kind == "path" else (await self._place(session_id))[0]
        if base is None or (keys is not None and not keys):
            return {}
        rows = f"{base}w:{kind}:{run}"
        if keys is None:
            (reply,) = await self._server.ask(rows, ("HGETALL", rows))
            stored = [(from_key(name.decode()), value) for name, value in pairs(reply)]
        else:
            (reply,) = await self._server.ask(rows, ("HMGET", rows, *map(to_key, keys)))
            stored = [(name, value) for name, value in zip(keys, reply, strict=True) if value is not None]
        split = [(name, *value.decode().split("\n", 1)) for name, value in stored]
        return {name: body for name, _, body in sorted(split, key=lambda row: int(row[1]))}

    async def drop_rows(self, session_id: str, run: str, kind: RowKind | None = None, keys: Sequence[str] | None = None) -> None:
        """See Backend.drop_rows."""
        base, _, head = await self._place(session_id)
        names = [f"{base}w:{each}:{run}" for each in ([kind] if kind is not None else KINDS)]
        if keys is None:
            await self._server.ask(head, ("UNLINK", *names), write=True)
        elif keys:
            await self._server.ask(head, *[("HDEL", name, *map(to_key, keys)) for name in names], write=True)

    # Shared runs ------------------------------------------------------------------------------------------------------

    async def add_reference(self, reference: Reference) -> bool:
        """See SharedRuns.add_reference."""
        base, _, key = await self._place(reference.session_id)
        claim = (reference.run, reference.child_run, pack_claim(reference, born=False))
        return bool(await self._server.run(fork_scripts.ADD_REFERENCE, key, base, *claim, "", "", "") == b"stored")

    async def references(self, session_id: str, run: str) -> list[Reference]:
        """See SharedRuns.references."""
        base, _, key = await self._place(session_id)
        (values,) = await self._server.ask(key, ("HVALS", f"{base}c:{run}"))
        return [unpack_claim(value)[0] for value in values]

    async def drop_reference(self, session_id: str, run: str, child_run: str) -> None:
        """See SharedRuns.drop_reference."""
        base, _, key = await self._place(session_id)
        await self._server.run(fork_scripts.DROP_REFERENCE, key, base, run, child_run, self._grace)

    async def mark_run(self, session_id: str, run: str, parent: Parent | None, *, closed: bool) -> None:
        """See SharedRuns.mark_run."""
        base, name, key = await self._place(session_id)
        await self._server.run(fork_scripts.MARK_RUN, key, base, name, run, int(closed), pack_mark(session_id, parent))

    async def marked_runs(self, session_id: str | None = None) -> list[ClosedRun]:
        """See SharedRuns.marked_runs. Who asks for all sweeps: so the indexes are mended, at most once an hour, and the claims of
        forks dropped that the server has dropped by itself.
        """
        if session_id is not None:
            base, name, key = await self._place(session_id)
            replies = [await self._server.run(fork_scripts.MARKED_RUNS, key, base, name, write=False)]
        else:
            keys = await self._ready()
            if await is_due(self._server, keys):
                await mend(self._server, keys)
            for claim in await gone_children(self._server, keys):
                await self.drop_reference(claim.session_id, claim.run, claim.child_run)
            replies = [(await self._server.ask(f"{base}m", ("HGETALL", f"{base}m")))[0] for base in keys.bases]
        return [unpack_mark(run.decode(), mark) for reply in replies for run, mark in pairs(reply)]

    async def forget_run(self, session_id: str, run: str) -> None:
        """See SharedRuns.forget_run."""
        base, name, key = await self._place(session_id)
        await self._server.run(fork_scripts.FORGET_RUN, key, base, name, run)

    async def put_fork(self, child: Head, claim: Reference, *, shed: int, expect: Head | None = None) -> Forked:
        """See SharedRuns.put_fork."""
        above, _, key = await self._place(claim.session_id)
        base, name, head = await self._place(child.session_id)
        apart = self._server.line.spread and above != base
        text, token = pack_claim(claim, born=not apart), new_token()
        expected = "" if expect is None else f"={expect.revision}.{expect.length}"
        body = b""
        values: tuple[str | bytes | int, ...]
        while True:
            if apart:
                values = (above, claim.run, claim.child_run, text, shed, body, expected)
                said = await self._server.run(fork_scripts.ADD_REFERENCE, key, *values)
            else:
                values = (base, name, token, self._grace, above, key, claim.run, text, shed, body, expected, *pack_head(child))
                said = await self._server.run(fork_scripts.PUT_FORK, head, *values)
            if said != b"look":
                break
            # The parent's head was written in format 1, which does not tell the server what was shed.
            (fields,) = await self._server.ask(key, ("HMGET", key, *HEAD_FIELDS))
            if fields[0] is None or unpack_head(claim.session_id, fields).shed != shed:
                return "moved"
            body = fields[-1]
        if said == b"stored" and apart and not await self.put_head(child, expect=None):
            return "taken"
        return _FORKED[said]

    async def referenced_runs(self) -> list[Reference]:
        """See SharedRuns.referenced_runs. A child that was born is not among them: ``marked_runs`` sees to those that have gone."""
        return [claim for claim, born in await all_claims(self._server, await self._ready()) if not born]

    # The whole store --------------------------------------------------------------------------------------------------

    def together(self, session_id: str) -> AbstractAsyncContextManager[None]:
        """See Backend.together: appends of this process's other threads wait, so that no compare-and-set starves; on an event loop none do.

        Compare-and-set and the order of the steps keep it safe beside all others.
        """
        return self._scopes.over(session_id) if self.blocking else nullcontext()

    async def compact(self) -> None:
        """See Backend.compact: indexes are mended, then every primary writes its files anew, without what was erased.

        Needs SCAN, CONFIG GET, INFO, BGREWRITEAOF and BGSAVE; replicas and backups are the operator's.
        """
        await mend(self._server, await self._ready())
        await compacting.compact(self._server)

    async def close(self) -> None:
        """See Backend.close."""
        await self._server.close()


def _twice(records: Sequence[Record]) -> str:
    return "1" if len(records) > 1 and len({record.id for record in records}) < len(records) else ""
