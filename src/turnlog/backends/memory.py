"""Sessions in this process's memory: the port on plain dicts, each verb one step. For tests, and where nothing must outlive the process."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from threading import RLock
from types import TracebackType

from turnlog.backends.cursors import decode_cursor, encode_cursor
from turnlog.backends.forking import put_fork_in_steps
from turnlog.backends.head_json import count_offset, decode_head, encode_head
from turnlog.backends.port import Appended, Forked, Page, Query, RowKind
from turnlog.errors import ConflictError
from turnlog.heads import ClosedRun, Head, Parent, Reference, Stretch
from turnlog.messages import Record


class _Session:
    """A head: what appends raise, what listing asks for, and the rest as text, so that no caller shares an object with the store."""

    __slots__ = ("agent_name", "counter", "length", "offset", "parent_id", "rest", "run", "ttl", "updated_at", "user_id")

    def __init__(self, head: Head) -> None:
        self.run, self.counter, self.length, self.updated_at = head.run, head.counter, head.length, head.updated_at
        self.offset, self.ttl = count_offset(head), head.ttl
        self.agent_name, self.user_id = head.fields.get("agent_name"), head.fields.get("user_id")
        self.parent_id = head.parent.session_id if head.parent else None
        self.rest = encode_head(head)

    @property
    def revision(self) -> str:
        return f"{self.run}.{self.counter}"

    def head(self, session_id: str) -> Head:
        return decode_head(self.rest, session_id, self.run, self.counter, self.length, self.updated_at)

    def is_expired(self, now: float) -> bool:
        return self.ttl is not None and self.updated_at + self.ttl <= now

    def matches(self, session_id: str, query: Query) -> bool:
        return (
            session_id.startswith(query.prefix)
            and (query.agent_name is None or self.agent_name == query.agent_name)
            and (query.user_id is None or self.user_id == query.user_id)
            and (query.since is None or self.updated_at >= query.since)
            and (query.until is None or self.updated_at < query.until)
            and (query.expired_at is None or self.is_expired(query.expired_at))
        )


class _Run:
    """The records of a run by place, None where one was erased, and the place of each id."""

    __slots__ = ("places", "records")

    def __init__(self) -> None:
        self.records: list[Record | None] = []
        self.places: dict[str, int] = {}

    def place(self, records: Sequence[Record], start: int) -> None:
        self.records += [None] * (start - len(self.records))
        self.records += [Record(seq, r.id, r.time, r.body, r.meta) for seq, r in enumerate(records, start)]
        self.places.update({r.id: seq for seq, r in enumerate(records, start)})

    def erase(self, start: int, stop: int | None) -> None:
        for seq in range(*slice(start, stop).indices(len(self.records))):
            if (record := self.records[seq]) is not None:
                del self.places[record.id]
                self.records[seq] = None

    def same(self, record: Record) -> bool:
        stored = self.records[self.places[record.id]]
        return stored is not None and (stored.body, stored.meta) == (record.body, record.meta)


class _Held:
    """A lock held by a coroutine that never suspends."""

    __slots__ = ("_lock",)

    def __init__(self, lock: RLock) -> None:
        self._lock = lock

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()


class MemoryBackend:
    """Implements Backend and SharedRuns. Safe to call from many threads; ``together`` holds the one lock, so no compare-and-set starves."""

    blocking = True
    copies = False

    def __init__(self) -> None:
        self._lock = RLock()
        self._sessions: dict[str, _Session] = {}
        self._children: defaultdict[str, set[str]] = defaultdict(set)
        self._mortal: set[str] = set()
        """Those with a ttl."""
        self._newest_last: list[tuple[float, str]] | None = None
        self._runs: defaultdict[str, _Run] = defaultdict(_Run)
        self._rows: dict[str, dict[RowKind, dict[str, str]]] = {}
        self._claims: dict[str, dict[str, Reference]] = {}
        self._marks: dict[str, ClosedRun] = {}

    async def get_head(self, session_id: str) -> Head | None:
        """See Backend.get_head."""
        with self._lock:
            session = self._sessions.get(session_id)
            return session.head(session_id) if session else None

    async def put_head(self, head: Head, *, expect: str | None, records: Sequence[Record] = ()) -> bool:
        """See Backend.put_head."""
        new = _Session(head)
        with self._lock:
            old = self._sessions.get(head.session_id)
            if (old.revision if old else None) != expect or self._closed(head.run):
                return False
            if records:
                run = self._runs[head.run]
                ids = {record.id for record in records}
                if len(ids) < len(records) or not ids.isdisjoint(run.places) or any(run.records):
                    raise ConflictError(f"run {head.run!r} cannot begin with these records: ids or places are taken", expected=expect)
                run.place(records, 0)
            self._forget(head.session_id, old)
            self._sessions[head.session_id] = new
            if new.parent_id is not None:
                self._children[new.parent_id].add(head.session_id)
            if new.ttl is not None:
                self._mortal.add(head.session_id)
            self._newest_last = None
            return True

    async def remove_head(self, session_id: str, run: str, *, expect: str | None = None) -> bool:
        """See Backend.remove_head."""
        with self._lock:
            if not self._names(session_id, run) or expect not in (None, self._sessions[session_id].revision):
                return False
            self._forget(session_id, self._sessions.pop(session_id))
            self._newest_last = None
            return True

    async def append(self, session_id: str, records: Sequence[Record], *, now: float, expect: str | None) -> Appended | None:
        """See Backend.append."""
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None or session.is_expired(now):
                return None
            run = self._runs[session.run]
            known = sum(record.id in run.places for record in records)
            if known or len(records) != 1:
                _check_ids(session_id, session, run, records, known)
            if known == len(records):
                return Appended(session.revision, session.length + session.offset, True)
            if expect is not None and expect != session.revision:
                text = f"session {session_id!r} is not at the revision expected: read it again and decide anew"
                raise ConflictError(text, session_id=session_id, expected=expect, actual=session.revision)
            run.place(records, session.length)
            session.length += len(records)
            session.counter += 1
            session.updated_at = now
            self._newest_last = None
            return Appended(session.revision, session.length + session.offset, False)

    async def read(self, session_id: str, spans: Sequence[Stretch]) -> list[Record]:
        """See Backend.read."""
        with self._lock:
            found: list[Record] = []
            for run, start, stop in spans:
                if run in self._runs:
                    found += [record for record in self._runs[run].records[start:stop] if record is not None]
            return found

    async def drop_records(self, session_id: str, run: str, start: int, stop: int | None) -> None:
        """See Backend.drop_records."""
        with self._lock:
            if run in self._runs:
                self._runs[run].erase(start, stop)
                if not self._runs[run].places and not self._names(session_id, run):
                    del self._runs[run]

    async def put_row(self, session_id: str, run: str, kind: RowKind, key: str, body: str) -> bool:
        """See Backend.put_row."""
        with self._lock:
            if not self._names(session_id, run):
                return False
            self._rows.setdefault(run, {}).setdefault(kind, {})[key] = body
            return True

    async def get_rows(self, session_id: str, run: str, kind: RowKind, keys: Sequence[str] | None = None) -> dict[str, str]:
        """See Backend.get_rows."""
        with self._lock:
            rows = self._rows.get(run, {}).get(kind, {})
            if keys is None:
                return dict(rows)
            if len(keys) == 1:
                return {key: rows[key] for key in keys if key in rows}
            wanted = set(keys)
            return {key: body for key, body in rows.items() if key in wanted}

    async def drop_rows(self, session_id: str, run: str, kind: RowKind | None = None, keys: Sequence[str] | None = None) -> None:
        """See Backend.drop_rows."""
        with self._lock:
            kinds = self._rows.get(run, {})
            for each in [kind] if kind is not None else list(kinds):
                rows = kinds.get(each, {})
                for key in list(rows) if keys is None else keys:
                    rows.pop(key, None)
                if not rows:
                    kinds.pop(each, None)
            if not kinds:
                self._rows.pop(run, None)

    async def list_heads(self, query: Query, *, cursor: str | None, limit: int) -> Page:
        """See Backend.list_heads."""
        before = decode_cursor(cursor) if cursor is not None else None
        with self._lock:
            order = self._in_order(query)
            found = []
            for index in range(len(order) if before is None else bisect_left(order, before), 0, -1):
                session_id = order[index - 1][1]
                if self._sessions[session_id].matches(session_id, query):
                    found.append(session_id)
                    if len(found) > limit:
                        break
            heads = [self._sessions[session_id].head(session_id) for session_id in found[:limit]]
        more = len(found) > limit
        return Page(heads, encode_cursor(heads[-1].updated_at, heads[-1].session_id) if more and heads else None)

    def together(self, session_id: str) -> AbstractAsyncContextManager[None]:
        """See Backend.together."""
        return _Held(self._lock)

    async def compact(self) -> None:
        """Nothing to do: what is erased is gone."""

    async def close(self) -> None:
        """Nothing to release; the sessions live as long as this object."""

    async def add_reference(self, reference: Reference) -> bool:
        """See SharedRuns.add_reference."""
        with self._lock:
            if self._closed(reference.run):
                return False
            self._claims.setdefault(reference.run, {})[reference.child_run] = reference
            return True

    async def references(self, session_id: str, run: str) -> list[Reference]:
        """See SharedRuns.references."""
        with self._lock:
            return list(self._claims.get(run, {}).values())

    async def drop_reference(self, session_id: str, run: str, child_run: str) -> None:
        """See SharedRuns.drop_reference."""
        with self._lock:
            claims = self._claims.get(run, {})
            claims.pop(child_run, None)
            if not claims:
                self._claims.pop(run, None)

    async def mark_run(self, session_id: str, run: str, parent: Parent | None, *, closed: bool) -> None:
        """See SharedRuns.mark_run."""
        with self._lock:
            self._marks[run] = ClosedRun(session_id, run, parent, closed or self._closed(run))

    async def marked_runs(self, session_id: str | None = None) -> list[ClosedRun]:
        """See SharedRuns.marked_runs."""
        with self._lock:
            return [mark for mark in self._marks.values() if session_id is None or mark.session_id == session_id]

    async def forget_run(self, session_id: str, run: str) -> None:
        """See SharedRuns.forget_run."""
        with self._lock:
            self._marks.pop(run, None)

    async def put_fork(self, child: Head, claim: Reference, *, shed: int, expect: Head | None = None) -> Forked:
        """See SharedRuns.put_fork."""
        with self._lock:
            return await put_fork_in_steps(self, child, claim, shed=shed, expect=expect)

    async def referenced_runs(self) -> list[Reference]:
        """See SharedRuns.referenced_runs."""
        with self._lock:
            return [claim for claims in self._claims.values() for claim in claims.values()]

    # The callers of all below hold the lock.

    def _names(self, session_id: str, run: str) -> bool:
        session = self._sessions.get(session_id)
        return session is not None and session.run == run

    def _closed(self, run: str) -> bool:
        mark = self._marks.get(run)
        return mark is not None and mark.closed

    def _forget(self, session_id: str, session: _Session | None) -> None:
        self._mortal.discard(session_id)
        if session is not None and session.parent_id is not None:
            siblings = self._children[session.parent_id]
            siblings.discard(session_id)
            if not siblings:
                del self._children[session.parent_id]

    def _in_order(self, query: Query) -> list[tuple[float, str]]:
        """Time and id of the sessions to look at, oldest first; sorted anew only after a change."""
        if query.parent_id is not None:
            return self._sorted(self._children.get(query.parent_id, ()))
        if query.expired_at is not None:
            return self._sorted(self._mortal)
        if self._newest_last is None:
            self._newest_last = self._sorted(self._sessions)
        return self._newest_last

    def _sorted(self, session_ids: Iterable[str]) -> list[tuple[float, str]]:
        return sorted((self._sessions[session_id].updated_at, session_id) for session_id in session_ids)


def _check_ids(session_id: str, session: _Session, run: _Run, records: Sequence[Record], known: int) -> None:
    """Raise ConflictError for ids given twice, known in part, or known with other content."""
    if len({record.id for record in records}) < len(records):
        wrong = "names a message id twice"
    elif 0 < known < len(records):
        wrong = f"has {known} known message ids of {len(records)}"
    elif known and not all(run.same(record) for record in records):
        wrong = "has known message ids with other content"
    else:
        return
    text = f"the batch for session {session_id!r} {wrong}: send it again as it was, or with new ids"
    raise ConflictError(text, session_id=session_id, actual=session.revision)
