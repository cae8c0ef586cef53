"""Sessions in a PostgreSQL database (13 or newer, encoding UTF8), for any number of threads, processes and machines.

Tables, their indexes, and what a message takes of them: schema.py. ``turnlog schema URL`` prints them as SQL, to be run by hand where
turnlog may not create anything (``create=False``). Messages are JSON text, never jsonb.

Statements (statements.py): each verb is one statement, committed by itself, in one round trip. An append raises the head's
counter and length, unless the session has expired, and inserts the records behind it; the lock of the head's row is the order of the
session. A unique index on run and id finds a retry, which a second statement judges.

Sessions with a ttl are found by a partial index once they have expired; nothing on the server removes them, ``sweep`` does.

With ``search``, the append also stores the message's words, an array under a GIN index, erased with the row. Switched on once, it is
on for everybody: see preparing.py.

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
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from turnlog.backends.cursors import encode_cursor
from turnlog.backends.head_json import decode_head
from turnlog.backends.port import Appended, Forked, Match, Page, Query, RowKind
from turnlog.backends.postgres import compacting
from turnlog.backends.postgres.keys import index_key, prefix_bounds
from turnlog.backends.postgres.opening import load_driver, open_server
from turnlog.backends.postgres.outcomes import AnswerLostError, TakenError, UnindexedError
from turnlog.backends.postgres.schema import Durability, Words, quoted, script
from turnlog.backends.postgres.statements import Statements
from turnlog.backends.postgres.values import claim, columns, conditions, fork_values, head_values, judge, parsed, words_text
from turnlog.backends.text_keys import from_key, to_key
from turnlog.errors import BackendUnavailableError, ConflictError, UnsupportedVerbError
from turnlog.heads import ClosedRun, Head, Parent, Reference, Stretch
from turnlog.messages import Record

if TYPE_CHECKING:
    from turnlog.backends.postgres.preparing import Line

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
    """Implements Backend, SharedRuns and Searchable.

    ``url``: ``postgresql://user:password@host:port/database`` with libpq's options, or another form that libpq reads. ``client``: in
    its place, an open ``psycopg_pool.ConnectionPool`` or ``AsyncConnectionPool`` of yours, which is left open; how long its
    connections wait for an answer is yours too. ``schema``: stores with different ones share a database and nothing else.
    ``create=False`` neither creates nor upgrades it. ``search``: keep an index of words, from now on whoever writes.
    ``pool_size``: most connections at a time. ``timeout``: seconds to wait for a connection, and for the answer to a statement,
    before BackendUnavailableError or LockTimeoutError.
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
        search: bool = False,
    ) -> None:
        if durability not in ("power", "process"):
            text = f'durability must be "power" or "process", not {durability!r:.80}'
            raise UnsupportedVerbError(text, verb="open", reason="no such durability")
        if pool_size < 1 or timeout <= 0:
            text = f"pool_size must be 1 or more and timeout more than 0 seconds, not {pool_size!r:.80} and {timeout!r:.80}"
            raise UnsupportedVerbError(text, verb="open", reason="no such limit")
        name = quoted(schema)
        self._options: tuple[Durability, bool, bool] = (durability, create, search)
        self._server = open_server(url, asynchronous, client, pool_size, timeout, name, self._prepare)
        self.blocking = self._server.pool.blocking
        self.schema = schema
        self._name = name
        self._use("kept" if search else "none")

    async def _prepare(self, line: Line) -> None:
        from turnlog.backends.postgres.preparing import prepare

        durability, create, search = self._options
        self._use(await prepare(line, durability, create=create, search=search))

    def _use(self, words: Words) -> None:
        """Go by what is known of the words that are kept."""
        self.indexes_words = words == "kept"
        self._with_words = words != "none"
        self._sql = Statements.of(self._name, words=self._with_words)

    # Heads ------------------------------------------------------------------------------------------------------------

    async def get_head(self, session_id: str) -> Head | None:
        """See Backend.get_head."""
        rows = await self._run(self._sql.get_head, (index_key(session_id)[0],))
        return decode_head(rows[0][0], session_id, *rows[0][1:]) if rows else None

    async def put_head(self, head: Head, *, expect: str | None, records: Sequence[Record] = ()) -> bool:
        """See Backend.put_head."""
        values = head_values(head)
        old = ("", 0) if expect is None else parsed(expect)
        if old is None:
            return False
        values["old_run"], values["old_counter"] = old
        try:
            return await self._put(head, expect, values, records)
        except UnindexedError:
            self._use("filling")
            return await self._put(head, expect, values, records)
        except TakenError as error:
            text = f"run {head.run!r} cannot begin with these records: ids or places are taken"
            raise ConflictError(text, session_id=head.session_id, expected=expect) from error

    async def _put(self, head: Head, expect: str | None, values: dict[str, Any], records: Sequence[Record]) -> bool:
        if records:
            await self._know_words()
            values |= columns(records, words=self._with_words)
        sql = self._sql
        if expect is None:
            statement = sql.insert_head_with_records if records else sql.insert_head
        else:
            statement = sql.update_head_with_records if records else sql.update_head
        try:
            return bool(await self._run(statement, values, again=False))
        except AnswerLostError as lost:
            # What was lost may still be under way; but only one of the two can find the head as expected.
            if await self._run(statement, values, again=False) or await self._is_stored(head, expect):
                return True
            text = f"whether session {head.session_id!r} was changed is not known: the answer was lost, and it was changed since"
            raise BackendUnavailableError(text, session_id=head.session_id, host=self._server.where) from lost

    async def _is_stored(self, head: Head, expect: str | None) -> bool:
        """Whether the head is there that was sent: the run is new and nobody else's, or nothing has changed since."""
        await self._run(self._sql.confirm, (index_key(head.session_id)[0],))
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
            if gone := head is None or head.run != run:
                await self._run(self._sql.confirm_removed, (run,))
            return gone

    async def list_heads(self, query: Query, *, cursor: str | None, limit: int) -> Page:
        """See Backend.list_heads."""
        where, values = conditions(query, cursor)
        if query.prefix:
            start, stop, whole = prefix_bounds(query.prefix)
            span, bounds = ("{0} >= %s", [start]) if stop is None else ("{0} >= %s AND {0} < %s", [start, stop])
            found = await self._run(f"{self._sql.some_heads} WHERE {span.format('session_id')} LIMIT %s", (*bounds, RARE + 1))
            # As an expression the column is not looked up in the index, so that the one on time is walked.
            where += " AND " + span.format("session_id" if len(found) <= RARE else "(session_id || '')")
            values += bounds
            if whole is not None:
                where += " AND starts_with(coalesce(long_id, session_id), %s)"
                values.append(whole)
        # As an expression the time is not looked up in its index: expired sessions have one of their own, and are the oldest of all.
        time = "updated_at" if query.expired_at is None else "(updated_at + 0)"
        statement = f"{self._sql.list_heads} WHERE {where} ORDER BY {time} DESC, session_id DESC LIMIT %s"
        rows = await self._run(statement, (*values, limit + 1))
        heads = [decode_head(row[1], from_key(row[0]), *row[2:]) for row in rows[:limit]]
        more = len(rows) > limit and heads
        return Page(heads, encode_cursor(heads[-1].updated_at, heads[-1].session_id) if more else None)

    # Records ----------------------------------------------------------------------------------------------------------

    async def append(self, session_id: str, records: Sequence[Record], *, now: float, expect: str | None) -> Appended | None:
        """See Backend.append."""
        await self._know_words()
        key = index_key(session_id)[0]
        for _ in range(ATTEMPTS):
            statement, values = self._appending(key, records, now, expect)
            taken = ""
            try:
                # The ids decide whether a first sending, whose answer was lost, has taken place.
                rows = await self._run(statement, values) if values else []
                if rows:
                    ((run, counter, count),) = rows
                    return Appended(f"{run}.{counter}", count, False)
            except TakenError as error:
                taken = error.constraint
            except UnindexedError:
                self._use("filling")
                continue
            known = await self._run(self._sql.known, ([record.id for record in records], key, now))
            if not known:
                return None
            if (outcome := judge(session_id, records, known, expect, taken)) is not None:
                await self._run(self._sql.confirm, (key,))
                return outcome
        raise ConflictError(f"session {session_id!r} changes too fast: {ATTEMPTS} attempts lost, try again", session_id=session_id)

    def _appending(self, key: str, records: Sequence[Record], now: float, expect: str | None) -> tuple[str, Any]:
        """The statement that appends, and its values; none where nothing can be appended."""
        if len(records) == 1 and expect is None:
            _, identity, time, body, meta = records[0]
            words = (words_text(body),) if self._with_words else ()
            return self._sql.append_one, (now, key, now, identity, time, body, meta, *words)
        old = ("", 0) if expect is None else parsed(expect)
        if not records or old is None:
            return self._sql.append_many, None
        values = {
            "session_id": key,
            "now": now,
            "size": len(records),
            "compare": expect is not None,
            "old_run": old[0],
            "old_counter": old[1],
        }
        return self._sql.append_many, values | columns(records, words=self._with_words)

    async def _know_words(self) -> None:
        """See to it that what is to be stored is sent with its words where these are kept."""
        if not self._server.ready:
            await self._server.get_ready()

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

    async def put_fork(self, child: Head, claim: Reference, *, shed: int, expect: Head | None = None) -> Forked:
        """See SharedRuns.put_fork."""
        values, lost = fork_values(child, claim, shed, expect), False
        while True:
            try:
                ((outcome,),) = await self._run(self._sql.put_fork, values, again=False)
            except AnswerLostError:
                if lost:
                    raise
                lost = True
                continue
            if outcome != "unmet":
                break
            # A run that was marked and lives again has lost the row that both sides meet on.
            await self._run(self._sql.put_run, (claim.run,))
        if lost and outcome != "stored" and await self._is_stored(child, None):
            return "stored"
        forked: Forked = outcome
        return forked

    async def referenced_runs(self) -> list[Reference]:
        """See SharedRuns.referenced_runs."""
        return [claim(row) for row in await self._run(self._sql.claims)]

    # Words ------------------------------------------------------------------------------------------------------------

    async def find(self, words: Sequence[str], *, limit: int) -> list[Match]:
        """See Searchable.find."""
        # What no text of the database can be is no word either.
        possible = [word for word in words if to_key(word) == word]
        rows = await self._run(self._sql.find, {"words": possible, "limit": limit})
        return [Match(from_key(owner), run, seq) for owner, run, seq in rows]

    # The whole schema -------------------------------------------------------------------------------------------------

    def together(self, session_id: str) -> AbstractAsyncContextManager[None]:
        """See Backend.together: nothing is held here, compare-and-set keeps it safe."""
        return nullcontext()

    async def compact(self) -> None:
        """See Backend.compact: rewrites each table without what was erased, under a lock on it, as long as that takes."""
        await compacting.compact(self._server, self._sql, self._name)

    async def close(self) -> None:
        """See Backend.close. A pool that was given stays open."""
        await self._server.close()

    async def _run(self, statement: str, values: Any = None, *, again: bool = True) -> list[tuple[Any, ...]]:
        return await self._server.run(statement.encode(), values, again=again)


def open_backend(url: str, *, asynchronous: bool) -> PostgresBackend:
    """The backend that a URL names. Of its query, these are turnlog's: ``schema durability pool_size timeout create search``."""
    load_driver()
    from turnlog.backends.postgres.address import split_url

    plain, options = split_url(url)
    return PostgresBackend(plain, asynchronous=asynchronous, **options)


def schema_text(url: str) -> str:
    """The SQL that makes the tables of the store at ``url``, and with ``search=1`` its index of words. Connects to nothing."""
    load_driver()
    from turnlog.backends.postgres.address import split_url

    _, options = split_url(url)
    return script(quoted(options.get("schema", "turnlog")), search=options.get("search", False))
