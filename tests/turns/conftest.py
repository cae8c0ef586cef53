"""The stores that a turn is tried on: every built-in one, sync and async, URLs, and five methods."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.verify.document_store import AsyncDocumentStore, DocumentStore
from turnlog import turn
from turnlog.session import (
    AsyncDefaultSessionStore,
    AsyncInMemorySessionStore,
    AsyncSqliteSessionStore,
    DefaultSessionStore,
    InMemorySessionStore,
    SqliteSessionStore,
    adapt_store,
)
from turnlog.testing.faces import Loop, SyncFace
from turnlog.turns import Turn

MAKERS: dict[str, Callable[[Path], Any]] = {
    "memory": lambda place: InMemorySessionStore(),
    "sqlite": lambda place: SqliteSessionStore(place / "s.sqlite", durability="process"),
    "json": lambda place: DefaultSessionStore(place / "sessions", durability="process"),
    "async memory": lambda place: AsyncInMemorySessionStore(),
    "async sqlite": lambda place: AsyncSqliteSessionStore(place / "s.sqlite", durability="process"),
    "async json": lambda place: AsyncDefaultSessionStore(place / "sessions", durability="process"),
    "five methods": lambda place: DocumentStore(),
    "async five methods": lambda place: AsyncDocumentStore(),
}
FULL = [name for name in MAKERS if "five" not in name]
WAYS = {name: ["async with"] if name.startswith("async") else ["with", "async with"] for name in MAKERS}

Body = Callable[[Turn], Any]


class Place:
    """A store, how turns are taken on it, and what is in it."""

    def __init__(self, store: Any, way: str, loop: Loop) -> None:
        self.store, self.way = store, way
        self.plain = SyncFace(store if isinstance(store, str) else adapt_store(store), loop)
        """The store, to be called without await."""

    def take(self, body: Body, session_id: str = "s", **options: Any) -> Turn:
        """A turn whose block is ``body``."""
        if self.way == "with":
            with turn(self.store, session_id, **options) as t:
                body(t)
            return t

        async def run() -> Turn:
            async with turn(self.store, session_id, **options) as t:
                body(t)
            return t

        return asyncio.run(run())

    def history(self, session_id: str = "s") -> list[dict[str, Any]]:
        """What the model gets."""
        found: list[dict[str, Any]] = self.plain.get_chat_history(session_id)
        return found

    def opened(self, session_id: str = "s") -> dict[str, tuple[str, list[Any]]]:
        """State and contents of each open turn."""
        turns = self.plain.get_open_turns(session_id)
        return {one.id: (one.info["state"], [message.content for message in one.messages]) for one in turns}


def _places(name: str, way: str, place: Path) -> Iterator[Place]:
    loop = Loop()
    store = MAKERS[name](place)
    found = Place(store, way, loop)
    yield found
    if "five" not in name:
        found.plain.close()
    loop.close()


@pytest.fixture(params=[f"{name}, {way}" for name, ways in WAYS.items() for way in ways])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Every store, empty, and every way to take a turn on it."""
    yield from _places(*request.param.split(", "), tmp_path)


@pytest.fixture(params=[f"{name}, {way}" for name in FULL for way in WAYS[name]])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Every full store, empty, and every way to take a turn on it."""
    yield from _places(*request.param.split(", "), tmp_path)
