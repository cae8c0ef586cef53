"""The head of a session: the small value that says which stretches of records are its history, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Stretch(NamedTuple):
    """Records ``start`` (inclusive) to ``stop`` (exclusive) of a run."""

    run: str
    start: int
    stop: int


class PathRef(NamedTuple):
    """Where an immutable path row lies: the run that owns it, and its key."""

    run: str
    key: str


@dataclass(frozen=True, slots=True)
class Path:
    """The older stretches of a deep history, moved out of the head.

    ``pages`` are further path rows, oldest first, each with the number of messages it covers; ``stretches`` follow them.
    """

    pages: tuple[tuple[PathRef, int], ...] = ()
    stretches: tuple[Stretch, ...] = ()

    @property
    def count(self) -> int:
        return sum(count for _, count in self.pages) + sum(s.stop - s.start for s in self.stretches)


@dataclass(frozen=True, slots=True)
class Position:
    """A closed history: its first ``count`` messages lie in ``path``, then in ``past``. Snapshots and undo points name one."""

    past: tuple[Stretch, ...]
    count: int
    path: PathRef | None = None


class Parent(NamedTuple):
    """Where a session was forked from. ``born`` tells the parent from a later session of the same id."""

    session_id: str
    born: str
    run: str
    message_index: int
    """Index of the last message taken over; -1 for none."""


class Reference(NamedTuple):
    """A fork's claim on its parent: records of ``run`` below ``stop`` must stay while the child run lives."""

    session_id: str
    """The parent session."""
    run: str
    """The parent's run."""
    child_id: str
    child_run: str
    stop: int


class ClosedRun(NamedTuple):
    """A run that is leaving or has left its session. ``closed``: takes no new references."""

    session_id: str
    run: str
    parent: Parent | None
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One session's head.

    The history is: ``path``, then ``past``, then records ``tail`` to ``length`` of ``run``; of these the first ``shed``
    messages have been dropped by retention. An append only raises ``length`` and ``counter``.
    """

    session_id: str
    run: str
    """The run that appends go to; a new one after clear, or delete and re-create."""
    born: str
    """Random name of this life of the session; kept through clear."""
    counter: int = 0
    """Raised by every change of the history."""
    length: int = 0
    """Records ever placed in ``run``; the next sequence number."""
    past: tuple[Stretch, ...] = ()
    past_count: int = 0
    """Messages in ``path`` and ``past``."""
    path: PathRef | None = None
    tail: int = 0
    shed: int = 0
    undo: str | None = None
    """Key of the newest undo point."""
    parent: Parent | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    ttl: float | None = None
    """Seconds after ``updated_at`` at which the session expires; None: never."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """title, agent_name, user_id, metadata, is_shared, runtime_state, last_compaction and keys of other programs."""

    @property
    def count(self) -> int:
        """Messages in the kept history."""
        return self.past_count + self.length - self.tail - self.shed

    def is_expired(self, now: float) -> bool:
        """Whether the session has lived its time at ``now`` (seconds since the epoch): it is then treated as if it were not there."""
        return self.ttl is not None and self.updated_at + self.ttl <= now

    @property
    def revision(self) -> str:
        """Opaque token of this state of the history; never repeated."""
        return f"{self.run}.{self.counter}"


def run_of(revision: str) -> str:
    """The run whose state a revision names."""
    return revision.rpartition(".")[0]
