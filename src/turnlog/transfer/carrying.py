"""Taking a session out of a store whole and putting it into another as it was, with its ids and times and as a fork of its parent."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from turnlog import tree
from turnlog.backends.port import Backend
from turnlog.errors import ConflictError, CorruptSessionError, UnsupportedVerbError
from turnlog.heads import Head, Parent, Position, Reference, Stretch
from turnlog.messages import Record, new_token
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.core import ATTEMPTS, UNDER_WAY, new_head, with_fields
from turnlog.store.drive import drive
from turnlog.store.sync import SessionStore
from turnlog.transfer.carried import Carried, CarriedSnapshot, Origin, begins_with, shared_beginning

NOTE = ("label", "metadata", "created_at")


class Carrier:
    """Takes sessions out of a store and puts them into it, each by few writes of which the first is the whole history."""

    def __init__(self, store: object) -> None:
        if not isinstance(store, SessionStore):
            text = f"a {type(store).__name__} cannot keep a session whole with its ids and times: use one of turnlog's stores"
            raise UnsupportedVerbError(text, verb="transfer", reason="no full store")
        self._core = _Carrying(store.backend, store.max_messages)

    def take(self, session_id: str) -> Carried | None:
        """The session, of one moment, without its draft and its undo points; None where there is none."""
        return drive(self._core.take(session_id))

    def put(self, session: Carried, *, over: bool = False) -> None:
        """Store a session. ``over``: in place of what is there. Raises ConflictError when the id is taken, or changes meanwhile.

        An origin that is alive must be in the store; then the session is a fork of it and shares messages with it where the store can.
        """
        drive(self._core.put(session, over=over))

    def add_missing(self, session: Carried) -> int | None:
        """See that the store holds all messages of ``session``: how many were added, -1 where all were there, None where others are.

        A history that begins with the messages of ``session`` holds them all; one with which they begin gets the rest.
        """
        return drive(self._core.add_missing(session))


class _Carrying(AsyncSessionStore):
    """The store's verbs for whole sessions, as coroutines."""

    def __init__(self, backend: Backend, max_messages: int | None) -> None:
        super().__init__(backend, max_messages, hop=False)
        self._parent: tuple[str, list[Record]] = ("", [])
        """The history of the parent used last, with the revision it had."""

    async def take(self, session_id: str) -> Carried | None:
        for _ in range(ATTEMPTS):
            found = await self._read_all(session_id)
            if found is None:
                return None
            head, records = found
            snapshots = await self._taken_snapshots(head)
            if snapshots is not None:
                fields: dict[str, Any] = json.loads(json.dumps(with_fields(head, **UNDER_WAY).fields))
                origin = None
                if head.parent is not None:
                    alive = await self._above(head) is not None
                    origin = Origin(head.parent.session_id, head.parent.message_index, alive)
                return Carried(session_id, records, head.created_at, head.updated_at, fields, origin, tuple(snapshots), head.ttl)
            again = await self._head(session_id)
            if again is not None and again.run == head.run and again.shed == head.shed:
                raise CorruptSessionError(f"a snapshot of session {session_id!r} misses messages", session_id=session_id)
        raise ConflictError(f"session {session_id!r} changes too fast to be read whole: try again", session_id=session_id)

    async def _taken_snapshots(self, head: Head) -> list[CarriedSnapshot] | None:
        """The snapshots; None where records are missing."""
        whole = await self._position(head, head.shed + head.count)
        taken = []
        for key, row in (await self._living_rows(head, "snapshot")).items():
            to = tree.decode_position(row, head.run)
            common = await self._common(head.session_id, whole, to)
            spans = tree.cut_spans(await self._flat(head.session_id, to), common, to.count)
            own = await self.backend.read(head.session_id, spans) if spans else []
            if len(own) < to.count - common:
                return None
            taken.append(CarriedSnapshot(key, {name: row[name] for name in NOTE}, common - head.shed, tuple(own)))
        return taken

    async def put(self, session: Carried, *, over: bool) -> None:
        name = session.session_id
        existing = await self._head(name)
        if existing is not None and not over:
            raise ConflictError(f"session {name!r} exists already", session_id=name)
        if existing is None:
            await self._erase_expired(name)
        parent = await self._parent_of(session)
        run = new_token()
        shared, base = 0, Position((), 0)
        if parent is not None and self._shared is not None:
            shared = shared_beginning(session.records, await self._history(parent))
            base = await self._short(parent, await self._position(parent, parent.shed + shared))
        own = session.records[shared:]
        layout = _Layout(own)
        branches = [layout.place(snapshot.own) for snapshot in session.snapshots]
        head = new_head(
            name,
            run=run,
            created_at=session.created_at,
            updated_at=session.updated_at,
            ttl=session.ttl,
            fields=session.fields,
            parent=_named(session.origin, parent),
            shed=min(parent.shed, base.count) if parent is not None else 0,
            past=base.past,
            past_count=base.count,
            path=base.path,
            length=len(layout.records),
        )
        if len(layout.records) > len(own):
            past = (*base.past, Stretch(run, 0, len(own))) if own else base.past
            head = replace(head, past=past, past_count=base.count + len(own), tail=head.length)
        if existing is not None:
            head = replace(head, born=existing.born)
        rows = [
            (snapshot.id, await self._row(head, snapshot, [Stretch(run, start, stop) for start, stop in branch]))
            for snapshot, branch in zip(session.snapshots, branches, strict=True)
        ]
        await self._write(head, layout.records, rows, parent if self._shared is not None else None, base, existing)

    async def _write(
        self, head: Head, records: list[Record], rows: list[tuple[str, str]], parent: Head | None, base: Position, existing: Head | None
    ) -> None:
        """The claim on the parent first, then head and records at once, then the snapshots."""
        claimed = False
        async with self._together(head.session_id):
            if existing is not None:
                await self._mark(existing, closed=False)
            if parent is not None and self._shared is not None:
                stop = tree.needed_stop(parent, base)
                claim = Reference(parent.session_id, parent.run, head.session_id, head.run, stop)
                claimed = await self._shared.add_reference(claim)
            again = await self.backend.get_head(parent.session_id) if parent is not None and claimed else None
            stands = parent is None or (again is not None and (again.run, again.shed) == (parent.run, parent.shed))
            expect = existing.revision if existing else None
            if not (stands and await self.backend.put_head(head, expect=expect, records=records)):
                if parent is not None and claimed:
                    await self._release(parent, head.run)
                text = f"session {head.session_id!r}, or the one it is a fork of, was changed while it was stored: try again"
                raise ConflictError(text, session_id=head.session_id)
            for key, body in rows:
                await self.backend.put_row(head.session_id, head.run, "snapshot", key, body)
            if existing is not None:
                await self._retire(existing)

    async def _row(self, head: Head, snapshot: CarriedSnapshot, branch: list[Stretch]) -> str:
        to = await self._position(head, head.shed + snapshot.common)
        to = replace(to, past=(*to.past, *branch), count=to.count + tree.length(branch))
        return json.dumps({**tree.encode_position(to, head.run), **snapshot.note})

    async def _parent_of(self, session: Carried) -> Head | None:
        if session.origin is None or not session.origin.alive:
            return None
        parent = await self._existing(session.origin.session_id)
        if session.session_id in (parent.session_id, *await self._ancestors(parent.session_id)):
            text = f"session {session.session_id!r} is above {parent.session_id!r} in the store, and cannot be its fork"
            raise ConflictError(text, session_id=session.session_id)
        return parent

    async def _history(self, parent: Head) -> list[Record]:
        """The history of a parent; that of the last one is kept, for its other forks."""
        if self._parent[0] != parent.revision:
            found = await self._read_all(parent.session_id)
            if found is None or found[0].revision != parent.revision:
                text = f"session {parent.session_id!r} was changed while a fork of it was stored: try again"
                raise ConflictError(text, session_id=parent.session_id)
            self._parent = (parent.revision, found[1])
        return self._parent[1]

    async def add_missing(self, session: Carried) -> int | None:
        found = await self._read_all(session.session_id)
        if found is None:
            await self.put(session, over=False)
            return len(session.records)
        head, have = found
        if begins_with(have, session.records):
            return -1
        if not begins_with(session.records, have):
            return None
        rest = session.records[len(have) :]
        with suppress(ConflictError):
            done = await self.backend.append(session.session_id, rest, now=time.time(), expect=head.revision)
            if done is not None:
                await self._retain_above(session.session_id, done.messages)
                # Known and yet not shown: they were taken back by a revert, which stands.
                return -1 if done.known else len(rest)
        return None


class _Layout:
    """Where the records of a session lie in a run of its own: the history first, then what only snapshots show, each record once."""

    def __init__(self, history: Sequence[Record]) -> None:
        self.records = list(history)
        self._places = {record.id: seq for seq, record in enumerate(history)}
        if len(self._places) < len(history):
            raise ConflictError("two messages of the session have the same id: give each its own")

    def place(self, branch: Sequence[Record]) -> list[tuple[int, int]]:
        """Where the records of a branch lie, as stretches; those that lie nowhere yet are added."""
        stretches: list[tuple[int, int]] = []
        for record in branch:
            seq = self._places.get(record.id)
            if seq is None:
                seq = self._places[record.id] = len(self.records)
                self.records.append(record)
            elif self.records[seq][1:] != record[1:]:
                raise ConflictError("two messages in the snapshots of the session have the same id and are not the same")
            if stretches and stretches[-1][1] == seq:
                stretches[-1] = (stretches[-1][0], seq + 1)
            else:
                stretches.append((seq, seq + 1))
        return stretches


def _named(origin: Origin | None, parent: Head | None) -> Parent | None:
    if origin is None:
        return None
    if parent is None:
        # A life that nothing else has: no later session of that name is taken for the parent.
        return Parent(origin.session_id, new_token(), "", origin.message_index)
    return Parent(parent.session_id, parent.born, parent.run, origin.message_index)
