"""Sessions as JSON files in a directory, one for each; the layout is document.py's, and praisonaiagents may use the same directory.

Durability: "power" syncs the file's data before an append returns, and file and directory around a rename; "process" leaves both
to the kernel, which survives ``kill -9``. Every use of a session holds ``flock`` on ``<file>.lock``, shared for reads; that file stays.

A fork copies: each file stands alone. A head change rewrites the file, except that fields of a long session, and drafts, go to
``<file>.side`` (side.py). An append that was cut short is set aside in ``<file>.torn-<n>`` and the file mended before the next use.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Literal

from turnlog.backends.cursors import decode_cursor, encode_cursor
from turnlog.backends.json_file.access import OpenSessions, Slot, View, load_side, load_view, merged_drafts, storage_error
from turnlog.backends.json_file.front import Front
from turnlog.backends.json_file.lock import FileLock
from turnlog.backends.json_file.names import SUFFIX
from turnlog.backends.json_file.rewrite import (
    SIDE,
    TEMPORARY,
    WholeFile,
    file_stamp,
    history_numbers,
    sync_directory,
    write_document,
    write_front,
    write_side,
)
from turnlog.backends.json_file.session_file import SessionFile, TornError
from turnlog.backends.json_file.side import Side, changes_between
from turnlog.backends.port import Appended, Page, Query, RowKind
from turnlog.errors import ConflictError, SessionError, UnsupportedVerbError
from turnlog.heads import Head, Stretch
from turnlog.messages import Record

SMALL = 64 * 1024
"""Bytes of a document up to which a change of fields rewrites it."""
KNOWN_HEADS = 4096
"""Heads that listings remember, each as long as its file does not change."""

log = logging.getLogger("turnlog")


class JsonFileBackend:
    """Implements Backend on the directory ``root``, which comes to be with the first session, for its owner's eyes only.

    ``lock_timeout``: seconds to wait for another writer before LockTimeoutError.
    """

    blocking = True
    copies = True

    def __init__(
        self, root: str | os.PathLike[str], *, durability: Literal["power", "process"] = "power", lock_timeout: float = 5.0
    ) -> None:
        if durability not in ("power", "process"):
            text = f'durability must be "power" or "process", not {durability!r:.80}'
            raise UnsupportedVerbError(text, verb="open", reason="no such durability")
        self.root = os.path.abspath(os.fspath(root))
        self._sync = durability == "power"
        self._sessions = OpenSessions(self.root, lock_timeout, sync=self._sync)
        self._heads: dict[str, tuple[tuple[int, int, int], Head | None]] = {}

    # Heads ------------------------------------------------------------------------------------------------------------

    async def get_head(self, session_id: str) -> Head | None:
        """See Backend.get_head."""
        with self._sessions.opened(session_id, shared=True) as slot:
            return None if slot is None or slot.view is None else head_of(slot.view)

    async def put_head(self, head: Head, *, expect: str | None, records: Sequence[Record] = ()) -> bool:
        """See Backend.put_head."""
        if len({record.id for record in records}) < len(records):
            raise ConflictError(f"the batch for session {head.session_id!r} names a message id twice", session_id=head.session_id)
        with self._sessions.opened(head.session_id, create=True) as slot:
            assert slot is not None
            view = slot.view
            if (view.revision if view else None) != expect:
                return False
            if view is None or records or view.head.run != head.run:
                self._begin(slot, head, [record._replace(seq=seq) for seq, record in enumerate(records)])
            elif not same_history(head_of(view), head):
                front, kept = self._front(slot, view), view_records(view)
                self._lay_out(slot, replace_head(front, head), {record.seq: record for record in (*kept, *front.aside)})
            else:
                self._change_fields(slot, view, head)
            return True

    async def remove_head(self, session_id: str, run: str) -> bool:
        """See Backend.remove_head."""
        with self._sessions.opened(session_id) as slot:
            if slot is None or slot.view is None or slot.view.head.run != run:
                return False
            slot.forget_view()
            os.unlink(slot.path)
            self._remove_beside(slot.path)
            if self._sync:
                sync_directory(slot.path)
            return True

    async def list_heads(self, query: Query, *, cursor: str | None, limit: int) -> Page:
        """See Backend.list_heads. ``updated_at`` is the file's time. What cannot be read is named in a log line and left out."""
        below = decode_cursor(cursor) if cursor is not None else None
        heads: list[Head] = []
        for path, found in self._newest_first():
            moment = found.st_mtime_ns / 1e9
            if (query.since is not None and moment < query.since) or (query.until is not None and moment >= query.until):
                continue
            if below is not None and moment > below[0]:
                continue
            head = self._listed(path, found)
            if head is None or not matches(head, query) or (below is not None and (moment, head.session_id) >= below):
                continue
            heads.append(replace(head, updated_at=moment))
            if len(heads) > limit and heads[-1].updated_at != heads[limit - 1].updated_at:
                break
        heads.sort(key=lambda head: (head.updated_at, head.session_id), reverse=True)
        more = len(heads) > limit
        heads = heads[:limit]
        return Page(heads, encode_cursor(heads[-1].updated_at, heads[-1].session_id) if more and heads else None)

    # Records ----------------------------------------------------------------------------------------------------------

    async def append(self, session_id: str, records: Sequence[Record], *, now: float, expect: str | None) -> Appended | None:
        """See Backend.append. Ids are known over the last 1,024 messages."""
        if expect is None and records:
            quick = self._sessions.append_quickly(session_id, records, now)
            if quick is not None:
                return Appended(quick.revision, quick.count, False)
        with self._sessions.opened(session_id) as slot:
            if slot is None or slot.view is None:
                return None
            view = slot.view
            ids = view.known_ids() if isinstance(view, SessionFile) else {record.id: record.seq for record in view_records(view)}
            known = {record.id: ids[record.id] for record in records if record.id in ids}
            if known or not records or (expect is not None and expect != view.revision) or len({r.id for r in records}) < len(records):
                return judge(session_id, view, records, known, expect)
            if isinstance(view, WholeFile):
                view = self._keep(slot, write_document(view.path, view.front, view.records, sync=self._sync))
                view.known_ids()
            view.append(records, now)
            return Appended(view.revision, view.count, False)

    async def read(self, session_id: str, spans: Sequence[Stretch]) -> list[Record]:
        """See Backend.read."""
        with self._sessions.opened(session_id, shared=True) as slot:
            if slot is None or slot.view is None:
                return []
            view = slot.view
            found: list[Record] = []
            for run, start, stop in spans:
                if run == view.head.run:
                    found += read_view(view, start, stop)
            return found

    async def drop_records(self, session_id: str, run: str, start: int, stop: int | None) -> None:
        """See Backend.drop_records. Only records that the history does not show can be dropped."""
        with self._sessions.opened(session_id) as slot:
            if slot is None or slot.view is None or slot.view.head.run != run:
                return
            front = self._front(slot, slot.view)
            kept = [record for record in front.aside if record.seq < start or (stop is not None and record.seq >= stop)]
            if len(kept) < len(front.aside):
                front.aside = kept
                self._rewrite(slot, slot.view, front)

    # Rows -------------------------------------------------------------------------------------------------------------

    async def put_row(self, session_id: str, run: str, kind: RowKind, key: str, body: str) -> bool:
        """See Backend.put_row."""
        with self._sessions.opened(session_id) as slot:
            if slot is None or slot.view is None or slot.view.head.run != run:
                return False
            if kind == "draft" and (side := self._side(slot)) is not None:
                side.drafts[key] = body
                self._put_side(slot, side)
                return True
            front = self._front(slot, slot.view)
            front.rows.setdefault(kind, {})[key] = body
            self._rewrite(slot, slot.view, front)
            return True

    async def get_rows(self, session_id: str, run: str, kind: RowKind, keys: Sequence[str] | None = None) -> dict[str, str]:
        """See Backend.get_rows."""
        with self._sessions.opened(session_id, shared=True) as slot:
            if slot is None or slot.view is None or slot.view.head.run != run:
                return {}
            rows = self._front(slot, slot.view).rows.get(kind, {})
            return dict(rows) if keys is None else {key: body for key, body in rows.items() if key in keys}

    async def drop_rows(self, session_id: str, run: str, kind: RowKind | None = None, keys: Sequence[str] | None = None) -> None:
        """See Backend.drop_rows."""
        with self._sessions.opened(session_id) as slot:
            if slot is None or slot.view is None or slot.view.head.run != run:
                return
            front = self._front(slot, slot.view)
            gone = [(each, key) for each in front.rows if kind in (None, each) for key in front.rows[each] if keys is None or key in keys]
            if not gone:
                return
            if all(each == "draft" for each, _ in gone) and (side := self._side(slot)) is not None:
                side.drafts.update({key: None for _, key in gone})
                self._put_side(slot, side)
                return
            for each, key in gone:
                del front.rows[each][key]
            front.rows = {each: rows for each, rows in front.rows.items() if rows}
            self._rewrite(slot, slot.view, front)

    # The directory ----------------------------------------------------------------------------------------------------

    def together(self, session_id: str) -> AbstractAsyncContextManager[None]:
        """See Backend.together: holds the session's lock. A session that does not exist has none; then compare-and-set must do."""
        return self._together(session_id)

    @asynccontextmanager
    async def _together(self, session_id: str) -> Any:
        slot = self._sessions.hold(session_id)
        try:
            yield
        finally:
            if slot is not None:
                self._sessions.release(slot)

    async def compact(self) -> None:
        """See Backend.compact: removes what killed writers left. The documents hold nothing erased."""
        for _ in self._newest_first():
            pass

    async def close(self) -> None:
        """See Backend.close."""
        self._sessions.close()

    # Writing ----------------------------------------------------------------------------------------------------------

    def _begin(self, slot: Slot, head: Head, records: list[Record]) -> None:
        """Lay out a new document; of what the file held before nothing stays."""
        front = Front(head=head)
        if slot.view is not None:
            # A side file belongs to one edition: a left-over one must not find its number again.
            front.edition = self._front(slot, slot.view).edition
        self._lay_out(slot, front, {record.seq: record for record in records})
        self._remove_beside(slot.path)

    def _lay_out(self, slot: Slot, front: Front, records: dict[int, Record]) -> None:
        """Write the document: the history that the head names as its messages, all other records aside."""
        numbers = history_numbers(front.head)
        history = [records.pop(seq) for seq in numbers]
        front.aside = [records[seq] for seq in sorted(records)]
        self._keep(slot, write_document(slot.path, front, history, sync=self._sync))

    def _rewrite(self, slot: Slot, view: View, front: Front) -> None:
        """Write the document with another front and the messages as they are."""
        if isinstance(view, SessionFile):
            self._keep(slot, write_front(view, front))
        else:
            self._keep(slot, write_document(view.path, front, view.records, sync=self._sync))

    def _change_fields(self, slot: Slot, view: View, head: Head) -> None:
        side = self._side(slot)
        if side is None or not isinstance(view, SessionFile) or not only_fields(head_of(view), head):
            self._rewrite(slot, view, replace_head(self._front(slot, view), head))
            return
        side.fields = changes_between(view.head.fields, head.fields)
        side.changes += 1
        self._put_side(slot, side)

    def _keep(self, slot: Slot, written: SessionFile) -> SessionFile:
        slot.forget_view()
        slot.view = written
        return written

    def _front(self, slot: Slot, view: View) -> Front:
        """All that the document says beside its messages, as of now."""
        if isinstance(view, WholeFile):
            return view.front
        front = view.read_front()
        # Listings and rows see drafts that another process has written since the view was made.
        side = load_side(slot.path, view.head.born, view.edition)
        if side is not None:
            front.rows["draft"] = merged_drafts(front.rows.get("draft", {}), side.drafts)
        return replace_head(front, view.current_head())

    def _side(self, slot: Slot) -> Side | None:
        """The side file's content, ready to be changed; None where the document is short enough to be rewritten."""
        view = slot.view
        if not isinstance(view, SessionFile) or view.size <= SMALL:
            return None
        return load_side(slot.path, view.head.born, view.edition) or Side(view.head.born, view.edition)

    def _put_side(self, slot: Slot, side: Side) -> None:
        view = slot.view
        assert isinstance(view, SessionFile)
        write_side(slot.path, side, sync=self._sync)
        view.take_side(side)

    def _remove_beside(self, path: str) -> None:
        """Remove what lies beside a document that is gone or new: it holds the content of what was."""
        folder, name = os.path.split(path)
        beside = (name + SIDE, name + TEMPORARY, name + SIDE + TEMPORARY)
        torn = [f"{name}.torn-{number}" for number in range(1, self._torn(path) + 1)]
        for each in (*beside, *torn):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, each))

    @staticmethod
    def _torn(path: str) -> int:
        """How many torn ends of a document are set aside; they are numbered from 1 without gaps."""
        number = 0
        while os.path.lexists(f"{path}.torn-{number + 1}"):
            number += 1
        return number

    # Listing ----------------------------------------------------------------------------------------------------------

    def _newest_first(self) -> Iterator[tuple[str, os.stat_result]]:
        """The files that may hold a session, last changed first. Removes what killed writers left on the way."""
        found = []
        try:
            with os.scandir(self.root) as entries:
                for entry in entries:
                    if entry.name.endswith(TEMPORARY):
                        self._remove_left_over(entry.path)
                    elif entry.name.endswith(SUFFIX):
                        with suppress(FileNotFoundError):
                            found.append((entry.path, entry.stat(follow_symlinks=False)))
        except FileNotFoundError:
            return
        except OSError as error:
            raise storage_error(error, self.root) from error
        found = [(path, each) for path, each in found if stat.S_ISREG(each.st_mode)]
        found.sort(key=lambda pair: pair[1].st_mtime_ns, reverse=True)
        yield from found

    def _remove_left_over(self, temporary: str) -> None:
        """Remove a temporary file unless its writer is at work."""
        path = temporary.removesuffix(TEMPORARY).removesuffix(SIDE)
        if not path.endswith(SUFFIX):
            return
        lock = FileLock(path + ".lock", 0.0)
        try:
            lock.acquire()
            os.unlink(temporary)
        except (SessionError, FileNotFoundError):
            log.debug("%s is in use or gone", temporary)
        finally:
            lock.close()

    def _listed(self, path: str, found: os.stat_result) -> Head | None:
        """The head of a file, remembered as long as the file does not change; None where there is no session to read."""
        stamp = file_stamp(found)
        known = self._heads.get(path)
        if known is None or known[0] != stamp:
            known = self._heads[path] = (stamp, self._load_head(path))
            while len(self._heads) > KNOWN_HEADS:
                with suppress(KeyError, StopIteration, RuntimeError):
                    del self._heads[next(iter(self._heads))]
        return known[1]

    def _load_head(self, path: str) -> Head | None:
        try:
            try:
                view = load_view(path, sync=self._sync, exclusive=False)
            except (TornError, SessionError):
                # An append may be under way: look again when it is done.
                lock = FileLock(path + ".lock", self._sessions.lock_timeout)
                try:
                    lock.acquire()
                    view = load_view(path, sync=self._sync, exclusive=True)
                finally:
                    lock.close()
            if view is None:
                return None
            try:
                return head_of(view)
            finally:
                view.close()
        except FileNotFoundError:
            return None
        except (SessionError, OSError) as error:
            log.warning("left out of the listing: %s", error if isinstance(error, SessionError) else storage_error(error, path))
            return None


def head_of(view: View) -> Head:
    """The head as it is now."""
    return view.current_head() if isinstance(view, SessionFile) else view.head


def view_records(view: View) -> list[Record]:
    """The records of the history, in its order."""
    return view.all_messages() if isinstance(view, SessionFile) else view.records


def read_view(view: View, start: int, stop: int) -> list[Record]:
    """The records with numbers ``start`` to ``stop``, by number."""
    if isinstance(view, SessionFile):
        return view.read(start, stop)
    return sorted(record for record in (*view.records, *view.front.aside) if start <= record.seq < stop)


def replace_head(front: Front, head: Head) -> Front:
    """The front with another head."""
    return replace(front, head=head)


def same_history(old: Head, new: Head) -> bool:
    """Whether two heads of one run name the same history."""
    return (old.past, old.tail, old.shed, old.length) == (new.past, new.tail, new.shed, new.length)


def only_fields(old: Head, new: Head) -> bool:
    """Whether nothing but fields, times and the counter differs."""
    return replace(old, fields={}, counter=0, updated_at=0.0) == replace(new, fields={}, counter=0, updated_at=0.0)


def matches(head: Head, query: Query) -> bool:
    """Whether a head is one that the query asks for; its times are looked at elsewhere."""
    return (
        head.session_id.startswith(query.prefix)
        and (query.agent_name is None or head.fields.get("agent_name") == query.agent_name)
        and (query.user_id is None or head.fields.get("user_id") == query.user_id)
        and (query.parent_id is None or (head.parent is not None and head.parent.session_id == query.parent_id))
    )


def judge(session_id: str, view: View, records: Sequence[Record], known: dict[str, int], expect: str | None) -> Appended:
    """``known=True`` when all is stored already, with the same content; else ConflictError that says why."""
    if len({record.id for record in records}) < len(records):
        wrong = "names a message id twice: give each message its own"
    elif len(known) == len(records) and (records or expect in (None, view.revision)):
        stored = {each.id: each for seq in known.values() for each in read_view(view, seq, seq + 1)}
        if all((stored[each.id].body, stored[each.id].meta) == (each.body, each.meta) for each in records):
            return Appended(view.revision, head_of(view).count, True)
        wrong = "has known message ids with other content: send it as it was, or with new ids"
    elif known:
        wrong = f"has {len(known)} known message ids of {len(records)}: send it as it was, or with new ids"
    else:
        wrong = "expects another revision: read the session again and decide anew"
    raise ConflictError(f"the batch for session {session_id!r} {wrong}", session_id=session_id, expected=expect, actual=view.revision)
