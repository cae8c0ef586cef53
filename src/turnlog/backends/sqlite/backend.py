"""Sessions in one SQLite file, for many threads and processes.

Tables (schema.py): ``heads`` one row a session; ``records`` one row a message, at ``place`` = its run's number * 2**32 + its
sequence number; ``runs`` the numbers of runs that hold records; ``rows`` snapshots, undo points, paths and drafts; ``claims`` and ``marks``
what forks and deletes need to know of each other; with ``search``, ``words``, which triggers keep. Ids are kept as ``text_keys`` writes
them, everything else as JSON text.

Durability: the file is in WAL mode. "power" is ``synchronous = FULL``: a commit has reached the disk when a verb returns. "process" is
``synchronous = NORMAL``: a commit survives ``kill -9``; power loss may take the last ones, and never leaves half of one.
Erased data leaves the live file with ``compact``: it rebuilds the file and empties the write-ahead log.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from threading import get_ident
from types import TracebackType
from typing import Any

from turnlog.backends.cursors import decode_cursor, encode_cursor
from turnlog.backends.forking import put_fork_in_steps
from turnlog.backends.head_json import decode_head
from turnlog.backends.port import Appended, Forked, Match, Page, Query, RowKind
from turnlog.backends.sqlite import statements as sql
from turnlog.backends.sqlite.connections import Connections, Transaction
from turnlog.backends.sqlite.schema import Durability
from turnlog.backends.sqlite.values import as_claim, head_values, prefix_span, rows_where
from turnlog.backends.text_keys import from_key, to_key
from turnlog.errors import ConflictError, CorruptSessionError, UnsupportedVerbError
from turnlog.heads import ClosedRun, Head, Parent, Reference, Stretch
from turnlog.messages import Record

RUN_SHIFT = 32
RARE = 2_000
"""Sessions that share a prefix up to which they are sorted; more are looked for in the order of time."""


class SqliteBackend:
    """Implements Backend, SharedRuns and Searchable on the file ``path``, which comes to be with the first verb, for its owner's eyes only.

    ``timeout``: seconds to wait for another writer before LockTimeoutError. ``search=True`` keeps an index of words, of what is stored
    already too; from then on everyone who writes to the file does.
    """

    blocking = True
    copies = False

    def __init__(
        self, path: str | os.PathLike[str], *, durability: Durability = "power", timeout: float = 5.0, search: bool = False
    ) -> None:
        name = os.fsdecode(path)
        if name in ("", ":memory:"):
            text = f"SqliteBackend keeps a file that many processes share, not {name!r}: pass a path, or use InMemorySessionStore"
            raise UnsupportedVerbError(text, verb="open", reason="no file")
        if durability not in ("power", "process"):
            text = f'durability must be "power" or "process", not {durability!r:.80}'
            raise UnsupportedVerbError(text, verb="open", reason="no such durability")
        self.path = os.path.abspath(name)
        self._connections = Connections(self.path, durability, timeout, search=search)

    # Heads ------------------------------------------------------------------------------------------------------------

    async def get_head(self, session_id: str) -> Head | None:
        """See Backend.get_head."""
        rows = self._read(sql.GET_HEAD, (to_key(session_id),))
        return decode_head(rows[0][0], session_id, *rows[0][1:]) if rows else None

    async def put_head(self, head: Head, *, expect: str | None, records: Sequence[Record] = ()) -> bool:
        """See Backend.put_head."""
        values = head_values(head)
        if expect is not None:
            statement, values["expect"] = sql.UPDATE_HEAD, to_key(expect)
        else:
            statement = sql.INSERT_HEAD
        if not records:
            return self._write(statement, values) == 1
        try:
            with Transaction(self._connections, undoable=True) as db:
                if db.execute(statement, values).rowcount != 1:
                    return False
                _insert(db, _number_run(db, values["session_id"], head.run), 0, records)
                return True
        except sqlite3.IntegrityError as error:
            text = f"run {head.run!r} cannot begin with these records: ids or places are taken"
            raise ConflictError(text, session_id=head.session_id, expected=expect) from error

    async def remove_head(self, session_id: str, run: str, *, expect: str | None = None) -> bool:
        """See Backend.remove_head."""
        values = {"session_id": to_key(session_id), "run": run, "expect": to_key(expect) if expect is not None else None}
        return self._write(sql.REMOVE_HEAD, values) == 1

    async def list_heads(self, query: Query, *, cursor: str | None, limit: int) -> Page:
        """See Backend.list_heads."""
        where, values = self._conditions(query, cursor)
        index = "INDEXED BY heads_by_expiry" if query.expired_at is not None else ""
        statement = f"""
            SELECT session_id, body, run, counter, length, updated_at FROM heads {index} WHERE {where}
            ORDER BY updated_at DESC, session_id DESC LIMIT ?
        """
        rows = self._read(statement, (*values, limit + 1))
        heads = [decode_head(row[1], from_key(row[0]), *row[2:]) for row in rows[:limit]]
        more = len(rows) > limit and heads
        return Page(heads, encode_cursor(heads[-1].updated_at, heads[-1].session_id) if more else None)

    def _conditions(self, query: Query, cursor: str | None) -> tuple[str, list[Any]]:
        where: list[str] = ["TRUE"]
        values: list[Any] = []
        for name, text in (("agent_name", query.agent_name), ("user_id", query.user_id), ("parent_id", query.parent_id)):
            if text is not None:
                where.append(f"{name} = ?")
                values.append(to_key(text))
        if query.expired_at is not None:
            where.append("ttl IS NOT NULL AND updated_at + ttl <= ?")
            values.append(query.expired_at)
        until = query.until
        if cursor is not None:
            updated_at, session_id = decode_cursor(cursor)
            where.append("(updated_at, session_id) < (?, ?)")
            values += [updated_at, to_key(session_id)]
            # One upper bound is what an index can seek to, and the cursor is never above the other.
            until = until if until is None or until < updated_at else None
        if until is not None:
            where.append("updated_at < ?")
            values.append(until)
        if query.since is not None:
            where.append("updated_at >= ?")
            values.append(query.since)
        if query.prefix:
            span, bounds = prefix_span(query.prefix)
            rare = len(self._read(f"SELECT 1 FROM heads WHERE {span} LIMIT ?", (*bounds, RARE + 1))) <= RARE
            # A plus sign keeps SQLite from using the index on that column.
            where.append(span if rare else span.replace("session_id", "+session_id"))
            values += bounds
        return " AND ".join(where), values

    # Records ----------------------------------------------------------------------------------------------------------

    async def append(self, session_id: str, records: Sequence[Record], *, now: float, expect: str | None) -> Appended | None:
        """See Backend.append."""
        key, size = to_key(session_id), len(records)
        try:
            with Transaction(self._connections, undoable=size > 1) as db:
                state = db.execute(sql.STATE, (key, now)).fetchone()
                if state is None:
                    return None
                head, run, number, counter, length, offset = state
                if not size or (expect is not None and expect != f"{run}.{counter}"):
                    known = _known(db, number, records, length)
                    return _judge(session_id, records, known, expect, f"{run}.{counter}", length + offset)
                if number is None:
                    number = _number_run(db, key, run)
                try:
                    _insert(db, number, length, records)
                except sqlite3.IntegrityError as error:
                    known = _known(db, number, records, length)
                    if not known and len({record.id for record in records}) == size:
                        text = f"session {session_id!r} has records behind its end"
                        raise CorruptSessionError(text, session_id=session_id, path=self.path) from error
                    raise _Undo(_judge(session_id, records, known, expect, f"{run}.{counter}", length + offset)) from error
                db.execute(sql.RAISE, (size, now, head))
            return Appended(f"{run}.{counter + 1}", length + size + offset, False)
        except _Undo as undo:
            return undo.outcome

    async def read(self, session_id: str, spans: Sequence[Stretch]) -> list[Record]:
        """See Backend.read."""
        db = self._connections.take()
        # One statement sees one state of the file; several need a transaction for that.
        several = len(spans) > 1 and not db.in_transaction
        try:
            if several:
                db.execute("BEGIN")
            found: list[Record] = []
            for run, start, stop in spans:
                if (number := db.execute(sql.RUN_NUMBER, (run,)).fetchone()) is not None:
                    base = number[0] << RUN_SHIFT
                    found += map(Record._make, db.execute(sql.READ, (base + start, base + stop)))
            if several:
                db.execute("COMMIT")
            return found
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._connections.named(error) from error
        finally:
            self._connections.give(db)

    async def drop_records(self, session_id: str, run: str, start: int, stop: int | None) -> None:
        """See Backend.drop_records."""
        with Transaction(self._connections) as db:
            if (number := db.execute(sql.RUN_NUMBER, (run,)).fetchone()) is None:
                return
            base = number[0] << RUN_SHIFT
            db.execute(sql.DROP_RECORDS, (base + start, base + (1 << RUN_SHIFT if stop is None else stop)))
            if start == 0 and stop is None:
                db.execute(sql.FORGET_NUMBER, {"run": run, "session_id": to_key(session_id)})

    # Rows -------------------------------------------------------------------------------------------------------------

    async def put_row(self, session_id: str, run: str, kind: RowKind, key: str, body: str) -> bool:
        """See Backend.put_row."""
        values = {"session_id": to_key(session_id), "run": run, "kind": kind, "key": to_key(key), "body": body}
        return self._write(sql.PUT_ROW, values) == 1

    async def get_rows(self, session_id: str, run: str, kind: RowKind, keys: Sequence[str] | None = None) -> dict[str, str]:
        """See Backend.get_rows."""
        where, values = rows_where(run, kind, keys)
        rows = self._read(f"SELECT key, body FROM rows WHERE {where} ORDER BY number", values)
        return {from_key(key): body for key, body in rows}

    async def drop_rows(self, session_id: str, run: str, kind: RowKind | None = None, keys: Sequence[str] | None = None) -> None:
        """See Backend.drop_rows."""
        where, values = rows_where(run, kind, keys)
        self._write(f"DELETE FROM rows WHERE {where}", values)

    # Shared runs ------------------------------------------------------------------------------------------------------

    async def add_reference(self, reference: Reference) -> bool:
        """See SharedRuns.add_reference."""
        session_id, run, child_id, child_run, stop = reference
        values = {"session_id": to_key(session_id), "run": run, "child_id": to_key(child_id), "child_run": child_run, "stop": stop}
        return self._write(sql.PUT_CLAIM, values) == 1

    async def references(self, session_id: str, run: str) -> list[Reference]:
        """See SharedRuns.references."""
        return [as_claim(row) for row in self._read(sql.CLAIMS + " WHERE run = ?", (run,))]

    async def drop_reference(self, session_id: str, run: str, child_run: str) -> None:
        """See SharedRuns.drop_reference."""
        self._write("DELETE FROM claims WHERE run = ? AND child_run = ?", (run, child_run))

    async def mark_run(self, session_id: str, run: str, parent: Parent | None, *, closed: bool) -> None:
        """See SharedRuns.mark_run."""
        self._write(sql.MARK, (run, to_key(session_id), json.dumps(parent) if parent else None, closed))

    async def marked_runs(self, session_id: str | None = None) -> list[ClosedRun]:
        """See SharedRuns.marked_runs."""
        rows = self._read(sql.MARKS) if session_id is None else self._read(sql.MARKS + " WHERE session_id = ?", (to_key(session_id),))
        return [
            ClosedRun(from_key(name), run, Parent(*json.loads(parent)) if parent else None, bool(closed))
            for name, run, parent, closed in rows
        ]

    async def forget_run(self, session_id: str, run: str) -> None:
        """See SharedRuns.forget_run."""
        self._write("DELETE FROM marks WHERE run = ?", (run,))

    async def put_fork(self, child: Head, claim: Reference, *, shed: int, expect: Head | None = None) -> Forked:
        """See SharedRuns.put_fork."""
        with Transaction(self._connections):
            return await put_fork_in_steps(self, child, claim, shed=shed, expect=expect)

    async def referenced_runs(self) -> list[Reference]:
        """See SharedRuns.referenced_runs."""
        return [as_claim(row) for row in self._read(sql.CLAIMS)]

    # Words ------------------------------------------------------------------------------------------------------------

    @property
    def indexes_words(self) -> bool:
        """See Searchable.indexes_words; known from the first verb on."""
        return self._connections.indexes_words

    async def find(self, words: Sequence[str], *, limit: int) -> list[Match]:
        """See Searchable.find."""
        return [Match(from_key(owner), run, seq) for owner, run, seq in self._read(sql.FIND, (json.dumps(list(words)), limit))]

    # The whole file ---------------------------------------------------------------------------------------------------

    def together(self, session_id: str) -> AbstractAsyncContextManager[None]:
        """See Backend.together: one transaction, so nobody else changes any session meanwhile. May be nested."""
        return _Together(Transaction(self._connections))

    async def compact(self) -> None:
        """See Backend.compact: rebuilds the file without what was erased and empties the write-ahead log;
        that takes as long as a copy of the file.

        Raises LockTimeoutError when other processes read or write all the time.
        """
        self._connections.rebuild()

    async def close(self) -> None:
        """See Backend.close."""
        self._connections.close()

    def _read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        db = self._connections.take()
        try:
            return db.execute(statement, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._connections.named(error) from error
        finally:
            self._connections.give(db)

    def _write(self, statement: str, values: tuple[Any, ...] | dict[str, Any]) -> int:
        """Run one statement as a transaction of its own, or in the scope of this thread; how many rows it changed."""
        connections = self._connections
        if connections.writer_thread == get_ident():
            with Transaction(connections) as db:
                return db.execute(statement, values).rowcount
        db = connections.lock()
        try:
            connections.patiently(db, statement, values)
            return db.rowcount
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise connections.named(error) from error
        finally:
            connections.unlock()


class _Undo(Exception):
    """Leaves a transaction by the way that undoes it, with the outcome of the verb."""

    def __init__(self, outcome: Appended) -> None:
        self.outcome = outcome


class _Together:
    """A transaction as an async scope; nothing in it waits for an event loop."""

    __slots__ = ("_transaction",)

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def __aenter__(self) -> None:
        self._transaction.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._transaction.__exit__(kind, error, trace)


def _number_run(db: sqlite3.Cursor, key: str, run: str) -> int:
    """The number of a run that gets its first records."""
    db.execute("INSERT INTO runs (run) VALUES (?) ON CONFLICT DO NOTHING", (run,))
    number: int = db.execute(sql.RUN_NUMBER, (run,)).fetchone()[0]
    db.execute("UPDATE heads SET run_number = ? WHERE session_id = ?", (number, key))
    return number


def _insert(db: sqlite3.Cursor, number: int, start: int, records: Sequence[Record]) -> None:
    place = (number << RUN_SHIFT) + start
    if len(records) == 1:
        _, identity, time, body, meta = records[0]
        db.execute(sql.INSERT_RECORD, (place, number, identity, time, body, meta))
    else:
        db.executemany(sql.INSERT_RECORD, [(at, number, r.id, r.time, r.body, r.meta) for at, r in enumerate(records, place)])


def _known(db: sqlite3.Cursor, number: int | None, records: Sequence[Record], length: int) -> dict[str, tuple[str, str | None]]:
    """Body and meta of those ids that a run of ``length`` records holds. A batch that failed half-way may lie behind them."""
    if number is None:
        return {}
    values = (number, json.dumps([record.id for record in records]), (number << RUN_SHIFT) + length)
    return {identity: (body, meta) for identity, body, meta in db.execute(sql.KNOWN, values)}


def _judge(
    session_id: str, records: Sequence[Record], known: dict[str, tuple[str, str | None]], expect: str | None, revision: str, count: int
) -> Appended:
    """``known=True`` when all is stored already, with the same content; else ConflictError that says why."""
    if len({record.id for record in records}) < len(records):
        wrong = "names a message id twice: give each message its own"
    elif not known and records:
        wrong = "expects another revision: read the session again and decide anew"
    elif len(known) < len(records):
        wrong = f"has {len(known)} known message ids of {len(records)}: send it as it was, or with new ids"
    elif any(known[record.id] != (record.body, record.meta) for record in records):
        wrong = "has known message ids with other content: send it as it was, or with new ids"
    else:
        return Appended(revision, count, True)
    raise ConflictError(f"the batch for session {session_id!r} {wrong}", session_id=session_id, expected=expect, actual=revision)
