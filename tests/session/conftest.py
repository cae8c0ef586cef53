"""Every test of the public face runs on every built-in store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from turnlog.session import DefaultSessionStore, InMemorySessionStore, SessionStore, SqliteSessionStore

KINDS = ["memory", "sqlite", "json"]
Opened = Callable[..., SessionStore]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which built-in store."""
    return str(request.param)


@pytest.fixture
def opened(kind: str, tmp_path: Path) -> Iterator[Opened]:
    """Open a store of that kind: ``opened(max_messages)``. Opened twice, it is the same place, but for memory."""
    stores: list[SessionStore] = []

    def open_one(max_messages: int | None = None) -> SessionStore:
        if kind == "memory":
            store: SessionStore = InMemorySessionStore(max_messages)
        elif kind == "sqlite":
            store = SqliteSessionStore(tmp_path / "s.sqlite", max_messages, durability="process")
        else:
            store = DefaultSessionStore(tmp_path / "sessions", max_messages, durability="process")
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Opened) -> SessionStore:
    """An empty store."""
    return opened()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[SessionStore]:
    """Another empty store, to carry sessions to."""
    with SqliteSessionStore(tmp_path / "other.sqlite", durability="process") as another:
        yield another


def say(*texts: str, **more: Any) -> list[dict[str, Any]]:
    """Messages of a user and of the assistant in turn."""
    return [{"role": "assistant" if place % 2 else "user", "content": text, **more} for place, text in enumerate(texts)]


def texts(store: SessionStore, session_id: str) -> list[Any]:
    """What is in the session."""
    return [message.content for message in store.get_messages(session_id)]
