"""What every verb stands on: reading a head and its records as one, walking paths."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from turnlog import tree
from turnlog.backends.port import Backend, SharedRuns
from turnlog.errors import ClosedStoreError, ConflictError, CorruptSessionError, MessageIndexError, SessionNotFoundError
from turnlog.heads import Head, Path, PathRef, Position, Stretch
from turnlog.messages import Record, check_session_id, new_token
from turnlog.store.conditions import check_ttl
from turnlog.store.seen import Seen

ATTEMPTS = 1_000
"""Lost compare-and-sets after which a verb gives up; each loss means that somebody else's change went through."""

REMEMBERED = 128
"""Sessions whose heads a store remembers."""


class Core:
    """A store over ``backend``.

    ``max_messages`` keeps that many messages a session (None: all); whole turns go, oldest first. ``ttl``: sessions that this store
    creates expire that many seconds after their last change (None: never). Raises InvalidArgumentError for a ttl that is none.
    """

    def __init__(self, backend: Backend, max_messages: int | None = None, *, ttl: float | None = None, hop: bool = True) -> None:
        if max_messages is not None:
            check_size(max_messages, "max_messages")
        self.backend = backend
        self.max_messages = max_messages
        self.ttl = check_ttl(ttl)
        self._shared: SharedRuns | None = backend if isinstance(backend, SharedRuns) and not backend.copies else None
        self._seen = Seen(REMEMBERED if self._shared is not None else 0)
        self._closed = False
        self._direct: Core | None = None
        if hop and backend.blocking:
            self._direct = copy.copy(self)

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return (self._direct or self)._closed

    # Heads ------------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedStoreError("the store is closed: open a new one")

    def _together(self, session_id: str) -> AbstractAsyncContextManager[None]:
        self._check_open()
        return self.backend.together(check_session_id(session_id))

    async def _head(self, session_id: str) -> Head | None:
        """The head of a session; None where there is none, or its time has run out."""
        return alive(await self._stored(session_id))

    async def _stored(self, session_id: str) -> Head | None:
        """The head as it is stored, expired or not."""
        self._check_open()
        return await self.backend.get_head(check_session_id(session_id))

    async def _existing(self, session_id: str) -> Head:
        head = await self._head(session_id)
        if head is None:
            raise SessionNotFoundError(f"there is no session {session_id!r}: create it or add a message first", session_id=session_id)
        return head

    async def _draft_id(self, head: Head) -> str | None:
        """The id of the session's draft; None for none, or if it is a message by now: a crash amid finalizing leaves the draft behind."""
        if "draft" not in head.fields:
            return None
        key, since = head.fields["draft"]
        later = await self.backend.read(head.session_id, [Stretch(head.run, since, head.length)]) if since < head.length else []
        return None if any(record.id == key for record in later) else str(key)

    # Positions --------------------------------------------------------------------------------------------------------

    async def _spans(self, head: Head, start: int, stop: int) -> list[Stretch]:
        """Where messages ``start`` to ``stop`` (absolute) lie."""
        if not tree.needs_older(head, start):
            return tree.read_spans(head, start, stop)
        return tree.read_spans(head, start, stop, await self._older(head.session_id, head.path, start, stop))

    async def _older(self, session_id: str, ref: PathRef | None, start: int = 0, stop: int | None = None) -> list[Stretch]:
        """The stretches of a path. Pages without a message from ``start`` to ``stop`` stay unread: one blind stretch each."""
        if ref is None:
            return []
        path = (await self._paths(session_id, [ref]))[ref]
        at = 0
        wanted = []
        for ref, count in path.pages:
            if start < at + count and (stop is None or stop > at):
                wanted.append(ref)
            at += count
        pages = await self._paths(session_id, wanted) if wanted else {}
        older: list[Stretch] = []
        for ref, count in path.pages:
            older.extend(pages[ref].stretches if ref in pages else [Stretch("", 0, count)])
        return [*older, *path.stretches]

    async def _flat(self, session_id: str, to: Position) -> list[Stretch]:
        """All stretches of a position."""
        return [*await self._older(session_id, to.path), *to.past]

    async def _common(self, session_id: str, one: Position, other: Position) -> int:
        """Messages two positions share from the start (absolute)."""
        if one.path == other.path and one.path is not None:
            return one.count - tree.length(one.past) + tree.shares_beginning(one.past, other.past)
        return tree.shares_beginning(await self._flat(session_id, one), await self._flat(session_id, other))

    async def _paths(self, session_id: str, refs: Sequence[PathRef]) -> dict[PathRef, Path]:
        found = {}
        for run in {ref.run for ref in refs}:
            rows = await self.backend.get_rows(session_id, run, "path", [ref.key for ref in refs if ref.run == run])
            found.update({PathRef(run, key): tree.decode_path(json.loads(body), run) for key, body in rows.items()})
        if len(found) < len(set(refs)):
            raise CorruptSessionError(f"session {session_id!r} misses a path row", session_id=session_id)
        return found

    async def _position(self, head: Head, count: int) -> Position:
        """The first ``count`` messages (absolute), closed."""
        older = await self._older(head.session_id, head.path, 0, count) if count <= tree.older_count(head) else ()
        return tree.position(head, count, older)

    async def _short(self, owner: Head, to: Position) -> Position:
        """``to`` with few enough stretches for a head; what is too much moves to path rows of ``owner``."""
        if self.backend.copies or len(to.past) < tree.MAX_PAST:
            return to
        path = (await self._paths(owner.session_id, [to.path]))[to.path] if to.path else Path()
        short, rows = tree.spilled(to, path, owner.run, (new_token(), new_token()))
        for key, row in rows:
            await self.backend.put_row(owner.session_id, owner.run, "path", key, json.dumps(tree.encode_path(row, owner.run)))
        return short

    # Records ----------------------------------------------------------------------------------------------------------

    async def _read(self, session_id: str, choose: Callable[[int], tuple[int, int]]) -> tuple[Head, list[Record]] | None:
        """A head with records ``choose(count)`` of its kept history, of one moment; None where there is no session."""
        misses = 0
        revision = ""
        while True:
            head = await self._head(session_id)
            if head is None:
                return None
            start, stop = choose(head.count)
            if start >= stop:
                return head, []
            spans = await self._spans(head, start + head.shed, stop + head.shed)
            records = await self.backend.read(session_id, spans)
            if len(records) == stop - start:
                return head, records
            # Cleared, deleted or cut between the two reads: look again. The same head twice is damage, not a race.
            misses = misses + 1 if head.revision == revision else 0
            revision = head.revision
            if misses > 2:
                raise CorruptSessionError(
                    f"session {session_id!r} misses {stop - start - len(records)} of the messages {start} to {stop}", session_id=session_id
                )

    async def _read_all(self, session_id: str) -> tuple[Head, list[Record]] | None:
        return await self._read(session_id, lambda count: (0, count))


def alive(head: Head | None) -> Head | None:
    """The head, unless its session has expired by now."""
    return None if head is not None and head.ttl is not None and head.is_expired(time.time()) else head


UNDER_WAY: dict[str, None] = {"draft": None, "taken_turns": None}
"""Fields of a head that tell of what is under way in its run: for ``with_fields``, where a head goes on without that."""


def check_revision(session_id: str, head: Head | None, expected: str | None) -> None:
    """Raise ConflictError unless the session is in the state expected; None expects nothing, "" that there is no session."""
    actual = head.revision if head else ""
    if expected is not None and actual != expected:
        text = f"session {session_id!r} is at another revision than expected: read it again and decide anew"
        raise ConflictError(text, session_id=session_id, expected=expected, actual=actual)


def check_size(value: object, name: str) -> int:
    """``value`` as a number of messages or sessions, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise MessageIndexError(f"{name} must be an int of 1 or more, not {value!r:.80}", index=value, count=0)
    return value


def new_head(session_id: str, **values: Any) -> Head:
    """The head of a session that comes to be now, with a run of its own."""
    now = time.time()
    return Head(**{"session_id": session_id, "run": new_token(), "born": new_token(), "created_at": now, "updated_at": now, **values})


def with_fields(head: Head, **fields: Any) -> Head:
    """The head with some fields set; None removes one. The same head where nothing changes."""
    merged = {name: value for name, value in {**head.fields, **fields}.items() if value is not None}
    return head if merged == head.fields else replace(head, fields=merged)
