"""Sessions as JSON files in a directory, one for each; the layout is document.py's, and praisonaiagents may use the same directory.

Durability: "power" syncs the file's data before an append returns, and file and directory around a rename; "process" leaves both
to the kernel, which survives ``kill -9``. Every use of a session holds ``flock`` on ``<file>.lock``, shared for reads; that file stays.

A fork copies: each file stands alone. A head change rewrites the file, except that fields of a long session, and drafts, go to
``<file>.side`` (side.py), and open turns to ``<file>.turns`` (turns.py). An append that was cut short is set aside in
``<file>.torn-<n>`` and the file mended before the next use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any, Literal

from turnlog.backends.json_file.access import OpenSessions, Slot
from turnlog.backends.json_file.files import remove_beside, sync_directory
from turnlog.backends.json_file.front import CHILDREN, Front
from turnlog.backends.json_file.listing import Directory
from turnlog.backends.json_file.rewrite import history_numbers, write_document, write_front, write_side
from turnlog.backends.json_file.session_file import SessionFile
from turnlog.backends.json_file.side import Side, changes_between
from turnlog.backends.json_file.turns import drop_turns, put_turn, read_turns
from turnlog.backends.json_file.views import View, WholeFile, front_of_view, head_of, is_expired, load_side, read_view, view_records
from turnlog.backends.port import Appended, Page, Query, RowKind
from turnlog.errors import ConflictError, CorruptSessionError, FormatVersionError, UnsupportedVerbError
from turnlog.heads import Head, Parent, Stretch
from turnlog.messages import Record, json_copy

SMALL = 64 * 1024
"""Bytes of a document up to which a change of fields rewrites it."""


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
        self._directory = Directory(self.root, lock_timeout, sync=self._sync)

    # Heads ------------------------------------------------------------------------------------------------------------

    async def get_head(self, session_id: str) -> Head | None:
        """See Backend.get_head."""
        with self._sessions.opened(session_id, shared=True) as slot:
            return None if slot is None or slot.view is None else head_of(slot.view)

    async def put_head(self, head: Head, *, expect: str | None, records: Sequence[Record] = ()) -> bool:
        """See Backend.put_head."""
        if len({record.id for record in records}) < len(records):
            raise ConflictError(f"the batch for session {head.session_id!r} names a message id twice", session_id=head.session_id)
        head = replace(head, fields=json_copy(dict(head.fields), "the fields of the session"))
        with self._sessions.opened(head.session_id, create=True) as slot:
            assert slot is not None
            view = slot.view
            if (view.revision if view else None) != expect:
                return False
            if view is None and head.parent is not None:
                self._show_child(head.parent, head.session_id, there=True)
            if view is None or records or view.head.run != head.run:
                self._begin(slot, head, [record._replace(seq=seq) for seq, record in enumerate(records)])
            elif not same_history(head_of(view), head):
                front, kept = front_of_view(view), view_records(view)
                self._lay_out(slot, replace(front, head=head), {record.seq: record for record in (*kept, *front.aside)})
            else:
                self._change_fields(slot, view, head)
            return True

    async def remove_head(self, session_id: str, run: str, *, expect: str | None = None) -> bool:
        """See Backend.remove_head."""
        with self._sessions.opened(session_id) as slot:
            if slot is None or slot.view is None or slot.view.head.run != run or expect not in (None, slot.view.revision):
                return False
            if slot.view.head.parent is not None:
                # A parent that cannot be read must not keep its child from being erased.
                with suppress(CorruptSessionError, FormatVersionError):
                    self._show_child(slot.view.head.parent, session_id, there=False)
            slot.forget_view()
            os.unlink(slot.path)
            remove_beside(slot.path)
            if self._sync:
                sync_directory(slot.path)
            return True

    async def list_heads(self, query: Query, *, cursor: str | None, limit: int) -> Page:
        """See Backend.list_heads. ``updated_at`` is the file's time. What cannot be read is named in a log line and left out."""
        return self._directory.page(query, cursor, limit)

    # Records ----------------------------------------------------------------------------------------------------------

    async def append(self, session_id: str, records: Sequence[Record], *, now: float, expect: str | None) -> Appended | None:
        """See Backend.append. Ids are known over the last 1,024 messages."""
        if expect is None and records:
            quick = self._sessions.append_quickly(session_id, records, now)
            if quick is not None:
                return Appended(quick.revision, quick.count, False)
        with self._sessions.opened(session_id) as slot:
            if slot is None or slot.view is None or is_expired(slot.view, now):
                return None
            view = slot.view
            ids = view.known_ids() if isinstance(view, SessionFile) else {record.id: record.seq for record in view_records(view)}
            known = {record.id: ids[record.id] for record in records if record.id in ids}
            if known or not records or (expect is not None and expect != view.revision) or len({r.id for r in records}) < len(records):
                found = judge(session_id, view, records, known, expect)
                if self._sync:
                    # Its writer may have been killed before it could sync.
                    os.fdatasync(view.fd)
                return found
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
            front = front_of_view(slot.view)
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
            if kind == "turn":
                put_turn(slot.path, run, key, body)
                return True
            if kind == "draft" and (side := self._side(slot)) is not None:
                side.drafts[key] = body
                self._put_side(slot, side)
                return True
            front = front_of_view(slot.view)
            front.rows.setdefault(kind, {})[key] = body
            self._rewrite(slot, slot.view, front)
            return True

    async def get_rows(self, session_id: str, run: str, kind: RowKind, keys: Sequence[str] | None = None) -> dict[str, str]:
        """See Backend.get_rows."""
        with self._sessions.opened(session_id, shared=True) as slot:
            if slot is None or slot.view is None or slot.view.head.run != run:
                return {}
            rows = read_turns(slot.path, run) if kind == "turn" else front_of_view(slot.view).rows.get(kind, {})
            return dict(rows) if keys is None else {key: body for key, body in rows.items() if key in keys}

    async def drop_rows(self, session_id: str, run: str, kind: RowKind | None = None, keys: Sequence[str] | None = None) -> None:
        """See Backend.drop_rows."""
        with self._sessions.opened(session_id) as slot:
            if slot is None or slot.view is None or slot.view.head.run != run:
                return
            if kind in (None, "turn"):
                drop_turns(slot.path, run, None if keys is None else list(keys))
                if kind == "turn":
                    return
            front = front_of_view(slot.view)
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

    @contextmanager
    def at_once(self, session_id: str) -> Iterator[bool]:
        """Holds the session's lock as ``together`` does if its file is open and unchanged and nobody has to be waited for; says whether.

        An event loop may then read a few messages by itself: that takes less than to have a thread do it.
        """
        slot = self._sessions.hold_at_once(session_id)
        try:
            yield slot is not None
        finally:
            if slot is not None:
                self._sessions.release(slot)

    async def compact(self) -> None:
        """See Backend.compact: removes what killed writers left. The documents hold nothing erased."""
        for _ in self._directory.newest_first():
            pass

    async def close(self) -> None:
        """See Backend.close."""
        self._sessions.close()

    # Writing ----------------------------------------------------------------------------------------------------------

    def _begin(self, slot: Slot, head: Head, records: list[Record]) -> None:
        """Lay out a new document; of what the file held before nothing stays."""
        front = Front(head=head)
        assert slot.lock is not None
        anything = slot.view is not None or slot.lock.was_there
        if slot.view is not None:
            # A side file belongs to one edition: a left-over one must not find its number again.
            old = front_of_view(slot.view)
            front.edition = old.edition
            if old.head.born == head.born and CHILDREN in old.its_own:
                front.its_own = {CHILDREN: old.its_own[CHILDREN]}
        self._lay_out(slot, front, {record.seq: record for record in records})
        if anything:
            remove_beside(slot.path)

    def _show_child(self, parent: Parent, child_id: str, *, there: bool) -> None:
        """Name or no longer name a fork in its parent's file, where praisonaiagents looks for it; no change of the parent's head."""
        with self._sessions.opened(parent.session_id) as slot:
            if slot is None or slot.view is None or parent.born not in ("", slot.view.head.born):
                return
            front = front_of_view(slot.view)
            children = front.its_own.get(CHILDREN) or []
            if there != (child_id in children):
                children = [*children, child_id] if there else [each for each in children if each != child_id]
                front.its_own = {**front.its_own, CHILDREN: children}
                self._rewrite(slot, slot.view, front)

    def _lay_out(self, slot: Slot, front: Front, records: dict[int, Record]) -> None:
        """Write the document: the history that the head names as its messages, all other records aside."""
        numbers = history_numbers(front.head)
        try:
            history = [records.pop(seq) for seq in numbers]
        except KeyError as error:
            raise CorruptSessionError(f"{slot.path} misses message number {error}: nothing was changed", path=slot.path) from error
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
            self._rewrite(slot, view, replace(front_of_view(view), head=head))
            return
        side.fields = changes_between(view.head.fields, head.fields)
        side.changes += 1
        self._put_side(slot, side, head.updated_at)

    def _keep(self, slot: Slot, written: SessionFile) -> SessionFile:
        slot.forget_view()
        slot.view = written
        return written

    def _side(self, slot: Slot) -> Side | None:
        """The side file's content, ready to be changed; None where the document is short enough to be rewritten."""
        view = slot.view
        if not isinstance(view, SessionFile) or view.size <= SMALL:
            return None
        return load_side(slot.path, view.head.born, view.edition) or Side(view.head.born, view.edition)

    def _put_side(self, slot: Slot, side: Side, updated_at: float | None = None) -> None:
        view = slot.view
        assert isinstance(view, SessionFile)
        write_side(slot.path, side, sync=self._sync)
        view.take_side(side, updated_at)


def same_history(old: Head, new: Head) -> bool:
    """Whether two heads of one run name the same history."""
    return (old.past, old.tail, old.shed, old.length) == (new.past, new.tail, new.shed, new.length)


def only_fields(old: Head, new: Head) -> bool:
    """Whether nothing but fields, times and the counter differs."""
    return replace(old, fields={}, counter=0, updated_at=0.0) == replace(new, fields={}, counter=0, updated_at=0.0)


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
