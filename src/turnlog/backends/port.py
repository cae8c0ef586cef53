"""The backend port: what an engine must do to keep sessions. It knows records, heads and rows, and nothing of trees."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from turnlog.heads import ClosedRun, Head, Parent, Reference, Stretch
from turnlog.messages import Record

RowKind = Literal["snapshot", "undo", "path", "draft", "turn"]
"""What a row is. A "turn" is not acknowledged to anyone: an engine may keep it less durably, so that it survives ``kill -9`` only."""


class Appended(NamedTuple):
    """What an append left behind."""

    revision: str
    messages: int
    """Messages in the kept history."""
    known: bool
    """True when every id was stored before with the same content, so nothing was written."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which heads to list; every given field must match. Times are seconds since the epoch, on ``updated_at``."""

    prefix: str = ""
    agent_name: str | None = None
    user_id: str | None = None
    since: float | None = None
    """Inclusive."""
    until: float | None = None
    """Exclusive."""
    parent_id: str | None = None
    expired_at: float | None = None
    """Only sessions whose ``ttl`` has run out at this time; with None both kinds are listed."""


Forked = Literal["stored", "moved", "taken"]
"""What came of a fork; see ``SharedRuns.put_fork``."""


class Match(NamedTuple):
    """A record that holds words that were looked for."""

    session_id: str
    """The session whose run it is; forks may show the record too."""
    run: str
    seq: int


class Page(NamedTuple):
    """Heads, newest ``updated_at`` first (ties by id, descending), and the cursor of the next page; None after the last."""

    heads: list[Head]
    cursor: str | None


@runtime_checkable
class Backend(Protocol):
    """An engine.

    Methods are ``async`` in shape. Where ``blocking`` is true they never suspend, so that a sync store can run them
    with one ``send(None)``; such a backend is safe to call from many threads. Every method is atomic on its own and,
    unless it says otherwise, durable when it returns. Driver errors leave as StorageError and its kinds.
    """

    blocking: bool
    copies: bool
    """True where each session stands alone: its stretches name its own run only, and a fork brings its records along."""

    async def get_head(self, session_id: str) -> Head | None:
        """The head, or None when the session does not exist."""

    async def put_head(self, head: Head, *, expect: str | None, records: Sequence[Record] = ()) -> bool:
        """Compare-and-set: store ``head`` if the stored revision equals ``expect`` (None: no such session), else return False.

        ``records`` are placed in ``head.run`` from 0 on, with the head or not at all; then the run is new, and nothing of the run
        that the head named before may stay where ``copies`` is true.
        A head whose run has been closed is refused (False). The head given is stored as it is, except for the
        engine's own idea of ``updated_at`` where it has one.
        """

    async def remove_head(self, session_id: str, run: str, *, expect: str | None = None) -> bool:
        """Remove the head if it still names ``run``, and with ``expect`` only at that revision. Idempotent; True if it was there."""

    async def append(self, session_id: str, records: Sequence[Record], *, now: float, expect: str | None) -> Appended | None:
        """Place ``records`` at the end of the session's run, all or none, and raise length and counter.

        None: no such session, or its time has run out at ``now`` (``Head.is_expired``); then nothing is written.
        Never compares, unless ``expect`` is given: then ConflictError (``actual`` set) when the stored revision differs.
        Ids are looked at before ``expect``: all known with the same body and meta is ``known=True``; known with other content or
        known in part is ConflictError.
        """

    async def read(self, session_id: str, spans: Sequence[Stretch]) -> list[Record]:
        """The records of the spans, in the order given, in one round. Records that are gone are left out; the caller counts."""

    async def drop_records(self, session_id: str, run: str, start: int, stop: int | None) -> None:
        """Erase records ``start`` to ``stop`` (None: the end) of a run."""

    async def put_row(self, session_id: str, run: str, kind: RowKind, key: str, body: str) -> bool:
        """Store or replace a row, in the order of first storing, if the session's head still names ``run``; else False."""

    async def get_rows(self, session_id: str, run: str, kind: RowKind, keys: Sequence[str] | None = None) -> dict[str, str]:
        """Rows by key, oldest first; all of that kind where ``keys`` is None. What is missing is left out."""

    async def drop_rows(self, session_id: str, run: str, kind: RowKind | None = None, keys: Sequence[str] | None = None) -> None:
        """Erase rows: of one kind and some keys, of one kind, or all."""

    async def list_heads(self, query: Query, *, cursor: str | None, limit: int) -> Page:
        """One page of heads. Reads heads only. A malformed cursor is a SessionError that is also a ValueError."""

    def together(self, session_id: str) -> AbstractAsyncContextManager[None]:
        """A scope in which nobody else changes the session and whose writes land in one commit, where the engine can do that.

        Elsewhere a no-op: then compare-and-set and the order of the steps keep it safe. Only blocking backends may hold a lock here
        (re-entrant for the thread; JSON files: the session's file lock; SQLite: one transaction).
        """

    async def compact(self) -> None:
        """Return space and remove what erased records left in the live data files."""

    async def close(self) -> None:
        """Release connections and files. Idempotent."""


@runtime_checkable
class SharedRuns(Protocol):
    """The optional ability of backends whose forks share records (``copies`` is False)."""

    async def add_reference(self, reference: Reference) -> bool:
        """Store the claim if its run is not closed; else False. Idempotent."""

    async def references(self, session_id: str, run: str) -> list[Reference]:
        """The claims on a run."""

    async def drop_reference(self, session_id: str, run: str, child_run: str) -> None:
        """Remove a claim. Idempotent."""

    async def mark_run(self, session_id: str, run: str, parent: Parent | None, *, closed: bool) -> None:
        """Note that a run is leaving its session; once closed it stays closed. Idempotent."""

    async def marked_runs(self, session_id: str | None = None) -> list[ClosedRun]:
        """Every marked run, or those of one session."""

    async def forget_run(self, session_id: str, run: str) -> None:
        """Remove the mark of a run whose records are gone."""

    async def put_fork(self, child: Head, claim: Reference, *, shed: int, expect: Head | None = None) -> Forked:
        """Bring ``child`` to life together with its ``claim`` on the parent: "stored".

        "moved": the parent's run is closed, its head no longer names that run with ``shed`` messages shed, or it is not at the revision
        and the length of ``expect``, where that is given. (After a failover that lost what had been acknowledged, one revision may stand
        for two states.) "taken": there is a session of the child's id, or the child's run is closed. One operation and
        one round trip where the engine can; elsewhere in the order claim, look at the parent, child, so that a crash leaves a claim to
        sweep and never a child without its records. After anything but "stored" the claim may be there: the caller releases it.
        """

    async def referenced_runs(self) -> list[Reference]:
        """Every claim there is, for the sweep, which drops those whose child never came to be.

        An engine that removes sessions by itself leaves out those of which it knows better, and sees to them in ``marked_runs``.
        """


@runtime_checkable
class Searchable(Protocol):
    """The optional ability of backends that can keep an index of the words of messages (``turnlog.words``)."""

    indexes_words: bool
    """Whether what is stored is indexed: it was opened with ``search=True``, now or at some time before. All writers then index."""

    async def find(self, words: Sequence[str], *, limit: int) -> list[Match]:
        """Records that hold one or more of ``words``, which ``words_of`` gave: at most ``limit``, with most of them first, then the newest.

        Erased records are never found; reverted ones may be, the caller looks at the heads.
        """
