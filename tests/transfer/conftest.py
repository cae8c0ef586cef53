"""Stores to carry sessions between, and what two places hold side by side."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from turnlog.session import DefaultSessionStore, InMemorySessionStore, SessionStore, SqliteSessionStore
from turnlog.transfer.carried import digest
from turnlog.transfer.carrying import Carrier

KINDS = ["memory", "sqlite", "json"]
Place = Callable[..., SessionStore]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """``place(kind, name)`` opens a store; the same kind and name twice are the same place, but for memory."""
    stores: list[SessionStore] = []

    def open_one(kind: str, name: str = "target") -> SessionStore:
        if kind == "memory":
            store: SessionStore = InMemorySessionStore()
        elif kind == "sqlite":
            store = SqliteSessionStore(tmp_path / f"{name}.sqlite", durability="process")
        else:
            store = DefaultSessionStore(tmp_path / name, durability="process")
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, place: Place) -> SessionStore:
    """An empty store of each kind."""
    return place(request.param)


def say(*texts: str, **more: Any) -> list[dict[str, Any]]:
    """Messages of a user and of the assistant in turn."""
    return [{"role": "assistant" if at % 2 else "user", "content": text, **more} for at, text in enumerate(texts)]


def texts(store: SessionStore, session_id: str) -> list[Any]:
    """What is in the session."""
    return [message.content for message in store.get_messages(session_id)]


def names(store: SessionStore) -> set[str]:
    """The ids of all sessions."""
    return {info.session_id for info in store.iter_sessions()}


def state(store: SessionStore) -> dict[str, str]:
    """The digest of each session: two stores with equal states hold the same."""
    carrier = Carrier(store)
    return {name: digest(session) for name in names(store) if (session := carrier.take(name)) is not None}


def written(path: Path, value: Any) -> Path:
    """``value`` as JSON in a file."""
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def bytes_under(path: Path) -> dict[str, str]:
    """What every file under a directory holds, with its rights and its time of change."""
    found = {}
    for each in sorted(path.rglob("*")):
        seen = each.lstat()
        content = hashlib.sha256(each.read_bytes()).hexdigest() if each.is_file() and not each.is_symlink() else ""
        found[str(each.relative_to(path))] = f"{content} {seen.st_mode:o} {seen.st_mtime_ns if each.is_file() else 0}"
    return found
