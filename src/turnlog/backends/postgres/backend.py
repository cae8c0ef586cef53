"""Sessions in a PostgreSQL database (13 or newer, encoding UTF8), for any number of threads, processes and machines.

Tables (schema.py), in a schema of their own: ``heads`` one row a session; ``records`` one row a message, by run and place, and
by run and id; ``rows`` snapshots, undo points, paths, drafts and open turns; ``runs`` one row a run: what heads, claims and the
closing of a run meet on; ``claims`` what forks need of others; ``format`` the number of this layout. Messages are JSON text, never jsonb.

Statements (statements.py): each verb is one statement, committed by itself, in one round trip. An append raises the head's
counter and length and inserts the records behind it; the lock of the head's row is the order of the session. A unique index on
run and id finds a retry, which a second statement judges.

Durability: "power" needs ``fsync`` on and ``synchronous_commit`` at ``on`` or above, and a server that has one of them off is
refused; ``full_page_writes`` must be on, as by default. "process" takes the server as it is set: a message survives the death of
its writer. Claims, marks of runs and open turns do not wait for the disk themselves: the log is one sequence, so the next commit that waits
brings them along. To keep every acknowledged message through the loss of the primary, name a standby in
``synchronous_standby_names`` (with ``synchronous_commit`` at ``on`` or ``remote_apply``; ``local`` does not wait for the standby),
promote that one, and give all hosts in the URL with ``target_session_attrs=read-write``.

Erased data leaves the live tables with ``compact``, which locks and rewrites them (VACUUM FULL); logs, standbys and backups keep
it until they are recycled.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from turnlog.backends.cursors import decode_cursor, encode_cursor
from turnlog.backends.forking import put_fork_in_steps
from turnlog.backends.head_json import decode_head
from turnlog.backends.port import Appended, Forked, Page, Query, RowKind
from turnlog.backends.postgres.keys import index_key, prefix_bounds, tag
from turnlog.backends.postgres.opening import load_driver, open_server
from turnlog.backends.postgres.outcomes import AnswerLostError, TakenError
from turnlog.backends.postgres.schema import DATA, Durability, prepare, quoted
from turnlog.backends.postgres.statements import Statements
from turnlog.backends.postgres.values import claim, columns, head_values, judge, parsed
from turnlog.backends.text_keys import from_key, to_key
from turnlog.errors import BackendUnavailableError, ConflictError, UnsupportedVerbError
from turnlog.heads import ClosedRun, Head, Parent, Reference, Stretch
from turnlog.messages import Record

RARE = 2_000
"""Sessions that share a prefix up to which they are sorted; more are looked for in the order of time."""
DROPPED_AT_ONCE = 50_000
"""Places whose records one statement erases."""
_NO_STOP = 2**62
ATTEMPTS = 100
"""Times that an append meets another state of the session than the look after it, before it gives up."""
REWRITTEN = ("draft", "turn")
"""Rows that are stored again and again: an old one that was held up must not be sent twice, or it may come after a newer one."""


class PostgresBackend:
    """Implements Backend and SharedRuns.

    ``url``: ``postgresql://user:password@host:port/database`` with libpq's options, or another form that libpq reads. ``client``: in
    its place, an open ``psycopg_pool.ConnectionPool`` or ``AsyncConnectionPool`` of yours, which is left open; how long its
    connections wait for an answer is yours too. ``schema``: stores with different ones share a database and nothing else.
    ``create=False`` never creates it. ``pool_size``: most connections at a time. ``timeout``: seconds to wait for a connection, and
    for the answer to a statement, before BackendUnavailableError or LockTimeoutError.
    """

    copies = False

    def __init__(
        self,
        url: str = "",
        *,
        asynchronous: bool = False,
        client: Any = None,
        schema: str = "turnlog",
        durability: Durability = "power",
        pool_size: int = 10,
        timeout: float = 10.0,
        create: bool = True,
    ) -> None:
        if durability not in ("power", "process"):
            text = f'durability must be "power" or "process", not {durability!r:.80}'
            raise UnsupportedVerbError(text, verb="open", reason="no such durability")
        if pool_size < 1 or timeout <= 0:
            text = f"pool_size must be 1 or more and timeout more than 0 seconds, not {pool_size!r:.80} and {timeout!r:.80}"
            raise UnsupportedVerbError(text, verb="open", reason="no such limit")
        name = quoted(schema)
        self._server = open_server(url, asynchronous, client, pool_size, timeout, lambda ask: prepare(ask, name, durability, create=create))
        self.blocking = self._server.pool.blocking
        self.schema = schema
        self._sql = Statements.of(name)
        self._name = name

    # Heads ------------------------------------------------------------------------------------------------------------

    async def get_head(self, session_id: str) -> Head | None:
        """See Backend.get_head."""
        rows = await self._run(self._sql.get_head, (index_key(session_id)[0],))
        return decode_head(rows[0][0], session_id, *rows[0][1:]) if rows else None

    async def put_head(self, head: Head, *, expect: str | None, records: Sequence[Record] = ()) -> bool:
        """See Backend.put_head."""
        values = head_values(head)
        sql = self._sql
        if expect is None:
            statement = sql.insert_head_with_records if records else sql.insert_head
        elif (old := parsed(expect)) is None:
            return False
        else:
            statement = sql.update_head_with_records if records else sql.update_head
            values["old_run"], values["old_counter"] = old
        if records:
            values |= columns(records)
        try:
            try:
                return bool(await self._run(statement, values, again=False))
            except AnswerLostError as lost:
                # What was lost may still be under way; but only one of the two can find the head as expected.
                if await self._run(statement, values, again=False) or await self._is_stored(head, expect):
                    return True
                text = f"whether session {head.session_id!r} was changed is not known: the answer was lost, and it was changed since"
                raise BackendUnavailableError(text, session_id=head.session_id, host=self._server.where) from lost
        except TakenError as error:
            text = f"run {head.run!r} cannot begin with these records: ids or places are taken"
            raise ConflictError(text, session_id=head.session_id, expected=expect) from error

    async def _is_stored(self, head: Head, expect: str | None) -> bool:
        """Whether the head is there that was sent: the run is new and nobody else's, or nothing has changed since."""
        stored = await self.get_head(head.session_id)
        if stored is None or stored.run != head.run:
            return False
        return expect is None or not expect.startswith(f"{head.run}.") or stored == head

    async def remove_head(self, session_id: str, run: str, *, expect: str | None = None) -> bool:
        """See Backend.remove_head."""
        statement = self._sql.remove_head
        values: list[Any] = [index_key(session_id)[0], run]
        if expect is not None:
            old = parsed(expect)
            if old is None or old[0] != run:
                return False
            statement, values = self._sql.remove_head_at, [*values, old[1]]
        try:
            return bool(await self._run(statement, values, again=False))
        except AnswerLostError:
            if await self._run(statement, values):
                return True
            # If it is gone, the lost one removed it, or somebody else did the same.
            head = await self.get_head(session_id)
            return head is None or head.run != run

    async def list_heads(self, query: Query, *, cursor: str | None, limit: int) -> Page:
        """See Backend.list_heads."""
        where, values = await self._conditions(query, cursor)
        statement = f"{self._sql.list_heads} WHERE {where} ORDER BY updated_at DESC, session_id DESC LIMIT %s"
        rows = await self._run(statement, (*values, limit + 1))
        heads = [decode_head(row[1], from_key(row[0]), *row[2:]) for row in rows[:limit]]
        more = len(rows) > limit and heads
        return Page(heads, encode_cursor(heads[-1].updated_at, heads[-1].session_id) if more else None)

    async def _conditions(self, query: Query, cursor: str | None) -> tuple[str, list[Any]]:
        where: list[str] = ["TRUE"]
        values: list[Any] = []
        for name, text in (("agent_name", query.agent_name), ("user_id", query.user_id), ("parent_id", query.parent_id)):
            if text is not None:
                where.append(f"{name} = %s")
                values.append(tag(text))
        if cursor is not None:
            updated_at, session_id = decode_cursor(cursor)
            where.append("(updated_at, session_id) < (%s::float8, %s::text)")
            values += [updated_at, index_key(session_id)[0]]
        for condition, time in (("updated_at < %s::float8", query.until), ("updated_at >= %s::float8", query.since)):
            if time is not None:
                where.append(condition)
                values.append(time)
        if query.prefix:
            start, stop, whole = prefix_bounds(query.prefix)
            span, bounds = ("{0} >= %s", [start]) if stop is None else ("{0} >= %s AND {0} < %s", [start, stop])
            found = await self._run(f"{self._sql.some_heads} WHERE {span.format('session_id')} LIMIT %s", (*bounds, RARE + 1))
            # As an expression the column is not looked up in the index, so that the one on time is walked.
            where.append(span.format("session_id" if len(found) <= RARE else "(session_id || '')"))
            values += bounds
            if whole is not None:
                where.append("starts_with(coalesce(long_id, session_id), %s)")
                values.append(whole)
        return " AND ".join(where), values

    # Records ----------------------------------------------------------------------------------------------------------

    async def append(self, session_id: str, records: Sequence[Record], *, now: float, expect: str | None) -> Appended | None:
        """See Backend.append."""
        key = index_key(session_id)[0]
        statement = self._sql.append_many
        values: tuple[Any, ...] | dict[str, Any] = ()
        if len(records) == 1 and expect is None:
            _, identity, time, body, meta = records[0]
            statement, values = self._sql.append_one, (now, key, identity, time, body, meta)
        elif records and (old := ("", 0) if expect is None else parsed(expect)) is not None:
            values = {"session_id": key, "now": now, "size": len(records), "compare": expect is not None, **columns(records)}
            values["old_run"], values["old_counter"] = old
        for _ in range(ATTEMPTS):
            taken = ""
            try:
                # The ids decide whether a first sending, whose answer was lost, has taken place.
                rows = await self._run(statement, values) if values else []
                if rows:
                    ((run, counter, count),) = rows
                    return Appended(f"{run}.{counter}", count, False)
            except TakenError as error:
                taken = error.constraint
            known = await self._run(self._sql.known, ([record.id for record in records], key))
            if not known:
                return None
            outcome = judge(session_id, records, known, expect, taken)
            if outcome is not None:
                return outcome
        raise ConflictError(f"session {session_id!r} changes too fast: {ATTEMPTS} attempts lost, try again", session_id=session_id)

    async def read(self, session_id: str, spans: Sequence[Stretch]) -> list[Record]:
        """See Backend.read."""
        if len(spans) == 1:
            rows = await self._run(self._sql.read_one, tuple(spans[0]))
        elif spans:
            rows = await self._run(self._sql.read_many, tuple(map(list, zip(*spans, strict=True))))
        else:
            return []
        return list(map(Record._make, rows))

    async def drop_records(self, session_id: str, run: str, start: int, stop: int | None) -> None:
        """See Backend.drop_records. Many go in several statements, from the oldest on, so that none takes too long."""
        values = {"run": run, "start": start, "stop": _NO_STOP if stop is None else stop, "at_once": DROPPED_AT_ONCE}
        left = True
        while left:
            ((left,),) = await self._run(self._sql.drop_records, values)

    # Rows -------------------------------------------------------------------------------------------------------------

    async def put_row(self, session_id: str, run: str, kind: RowKind, key: str, body: str) -> bool:
        """See Backend.put_row."""
        statement = self._sql.put_row_relaxed if kind == "turn" else self._sql.put_row
        values = (index_key(session_id)[0], run, kind, *index_key(key), body)
        return bool(await self._run(statement, values, again=kind not in REWRITTEN))

    async def get_rows(self, session_id: str, run: str, kind: RowKind, keys: Sequence[str] | None = None) -> dict[str, str]:
        """See Backend.get_rows."""
        if keys is None:
            rows = await self._run(self._sql.get_rows, (run, kind))
        else:
            rows = await self._run(self._sql.get_rows_by_key, (run, kind, [index_key(key)[0] for key in keys]))
        return {from_key(key): body for key, body in rows}

    async def drop_rows(self, session_id: str, run: str, kind: RowKind | None = None, keys: Sequence[str] | None = None) -> None:
        """See Backend.drop_rows."""
        if keys is not None:
            kinds = [kind] if kind is not None else ["snapshot", "undo", "path", "draft", "turn"]
            # An open turn that is still there after it has landed is known for what it is, and dropped again.
            statement = self._sql.drop_turns if kind == "turn" else self._sql.drop_rows_by_key
            await self._run(statement, (run, kinds, [index_key(key)[0] for key in keys]))
        elif kind is not None:
            await self._run(self._sql.drop_rows_of_kind, (run, kind))
        else:
            await self._run(self._sql.drop_rows, (run,))

    # Shared runs ------------------------------------------------------------------------------------------------------

    async def add_reference(self, reference: Reference) -> bool:
        """See SharedRuns.add_reference. Durable with the child's head, or any later commit."""
        session_id, run, child_id, child_run, stop = reference
        return bool(await self._run(self._sql.put_claim, (run, child_run, to_key(session_id), to_key(child_id), stop)))

    async def references(self, session_id: str, run: str) -> list[Reference]:
        """See SharedRuns.references."""
        return [claim(row) for row in await self._run(self._sql.claims_of_run, (run,))]

    async def drop_reference(self, session_id: str, run: str, child_run: str) -> None:
        """See SharedRuns.drop_reference. Durable with any later commit."""
        await self._run(self._sql.drop_claim, (run, child_run))

    async def mark_run(self, session_id: str, run: str, parent: Parent | None, *, closed: bool) -> None:
        """See SharedRuns.mark_run. Durable with any later commit, such as that which removes the head."""
        await self._run(self._sql.mark, (run, *index_key(session_id), json.dumps(parent) if parent else None, closed))

    async def marked_runs(self, session_id: str | None = None) -> list[ClosedRun]:
        """See SharedRuns.marked_runs."""
        if session_id is None:
            rows = await self._run(self._sql.marks)
        else:
            rows = await self._run(self._sql.marks_of_session, (index_key(session_id)[0],))
        return [
            ClosedRun(from_key(name), run, Parent(*json.loads(parent)) if parent else None, closed) for name, run, parent, closed in rows
        ]

    async def forget_run(self, session_id: str, run: str) -> None:
        """See SharedRuns.forget_run. Durable with any later commit."""
        await self._run(self._sql.forget, (run,))

    async def put_fork(self, child: Head, claim: Reference, *, shed: int) -> Forked:
        """See SharedRuns.put_fork."""
        return await put_fork_in_steps(self, self, child, claim, shed=shed)

    async def referenced_runs(self) -> list[Reference]:
        """See SharedRuns.referenced_runs."""
        return [claim(row) for row in await self._run(self._sql.claims)]

    # The whole schema -------------------------------------------------------------------------------------------------

    def together(self, session_id: str) -> AbstractAsyncContextManager[None]:
        """See Backend.together: nothing is held here, compare-and-set keeps it safe."""
        return _NOTHING_HELD

    async def compact(self) -> None:
        """See Backend.compact: rewrites each table without what was erased, under a lock on it, as long as that takes."""
        tables = [f"VACUUM (FULL) {self._name}.{table}".encode() for table in DATA]
        await self._server.run_for_long([self._sql.forget_idle_runs.encode(), *tables])

    async def close(self) -> None:
        """See Backend.close. A pool that was given stays open."""
        await self._server.close()

    async def _run(self, statement: str, values: Any = None, *, again: bool = True) -> list[tuple[Any, ...]]:
        return await self._server.run(statement.encode(), values, again=again)


def open_backend(url: str, *, asynchronous: bool) -> PostgresBackend:
    """The backend that a URL names; ``schema``, ``durability``, ``pool_size``, ``timeout`` and ``create`` in its query are turnlog's."""
    load_driver()
    from turnlog.backends.postgres.address import split_url

    plain, options = split_url(url)
    return PostgresBackend(plain, asynchronous=asynchronous, **options)


class _NothingHeld:
    """A scope in which nothing is held."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


_NOTHING_HELD = _NothingHeld()
