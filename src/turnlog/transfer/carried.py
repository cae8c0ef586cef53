"""A session on its way from one place to another, whole, as values; and the digest by which a copy is compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from turnlog.messages import Record
from turnlog.store.values import iso_time


class Origin(NamedTuple):
    """Where a session was forked from. ``alive``: that session is still there; else it is only a name."""

    session_id: str
    message_index: int
    """Index of the last message taken over; -1 for none."""
    alive: bool


class CarriedSnapshot(NamedTuple):
    """A snapshot: ``common`` messages of the session's history, then the records ``own``, which a revert left behind."""

    id: str
    note: Mapping[str, Any]
    """``label``, ``metadata`` and ``created_at`` (seconds since the epoch)."""
    common: int
    own: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """A session: its history oldest first, its fields, its snapshots oldest first. Times are seconds since the epoch."""

    session_id: str
    records: list[Record]
    created_at: float
    updated_at: float
    fields: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin | None = None
    snapshots: tuple[CarriedSnapshot, ...] = ()
    ttl: float | None = None
    """Seconds after its last change at which the session expires; None: never."""


def digest(session: Carried) -> str:
    """SHA-256 over everything that a copy must keep: id, messages with ids, times and metadata, fields, fork, snapshots, creation, ttl."""
    found = hashlib.sha256()
    front = [session.session_id, iso_time(session.created_at), session.origin, session.fields, session.ttl, len(session.records)]
    found.update(json.dumps(front, sort_keys=True).encode())
    _add_records(found, session.records)
    for snapshot in session.snapshots:
        found.update(json.dumps([snapshot.id, snapshot.common, snapshot.note, len(snapshot.own)], sort_keys=True).encode())
        _add_records(found, snapshot.own)
    return found.hexdigest()


def _add_records(found: Any, records: Iterable[Record]) -> None:
    for _, identity, time, body, meta in records:
        found.update(json.dumps([identity, time, body, meta]).encode())


def shared_beginning(one: list[Record], other: list[Record]) -> int:
    """How many messages two histories have in common from the start, with ids and times."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a[1:] != b[1:]:
            return index
    return min(len(one), len(other))


def begins_with(whole: list[Record], beginning: list[Record]) -> bool:
    """Whether ``whole`` begins with the messages of ``beginning``; times may differ."""
    if len(beginning) > len(whole):
        return False
    return all((a.id, a.body, a.meta) == (b.id, b.body, b.meta) for a, b in zip(beginning, whole, strict=False))
