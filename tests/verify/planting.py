"""How a fault is declared: the promise it breaks, and how a faulty store is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.verify.waiting_store import AsyncWaitingSessionStore
from turnlog.session import AsyncSqliteSessionStore, DefaultSessionStore, InMemorySessionStore, SqliteSessionStore


@dataclass(frozen=True)
class Fault:
    """A faulty store: ``breaks`` is a case or a promise of which at least one case must catch it."""

    kind: type
    breaks: str
    five: bool
    factory: Callable[..., Any]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return self.kind.__name__


FAULTS: list[Fault] = []


def in_memory(kind: type, max_messages: int | None = None) -> Any:
    return kind(max_messages)


def on_sqlite(kind: type, place: Path, max_messages: int | None = None) -> Any:
    return kind(place / "s.db", max_messages, durability="process")


def on_json(kind: type, place: Path, max_messages: int | None = None) -> Any:
    return kind(place / "sessions", max_messages, durability="process")


def on_place(kind: type, place: Path) -> Any:
    return kind(place)


OPENERS: dict[type, Callable[..., Any]] = {
    InMemorySessionStore: in_memory,
    SqliteSessionStore: on_sqlite,
    AsyncSqliteSessionStore: on_sqlite,
    AsyncWaitingSessionStore: in_memory,
    DefaultSessionStore: on_json,
}


def fault(breaks: str, **options: Any) -> Callable[[type], type]:
    """Plant the decorated class; further arguments go to the verify function."""

    def plant(kind: type) -> type:
        opener = next((opener for base, opener in OPENERS.items() if issubclass(kind, base)), None)
        factory: Callable[..., Any] = kind if opener is None else partial(opener, kind)
        FAULTS.append(Fault(kind, breaks, opener is None, factory, options))
        return kind

    return plant
