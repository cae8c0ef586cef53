"""Stores on a MongoDB server that the kit opens, here and in processes of its own; and a driver that lets others act between its calls."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.servers.mongodb import VARIABLE
from turnlog.backends.mongodb import MongoBackend
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore


def open_store(place: Path, *, max_messages: int | None = None) -> SessionStore:
    """The sync store of a place."""
    return SessionStore(_backend(place, asynchronous=False), max_messages)


def open_searching_store(place: Path, *, max_messages: int | None = None) -> SessionStore:
    """The sync store of a place, which indexes words."""
    return SessionStore(_backend(place, asynchronous=False, search=True), max_messages)


def open_async_store(place: Path, *, max_messages: int | None = None) -> AsyncSessionStore:
    """The async store of a place."""
    return AsyncSessionStore(_backend(place, asynchronous=True), max_messages)


def open_safe_store(place: Path, *, max_messages: int | None = None) -> SessionStore:
    """The sync store of a place, whose writes wait for the journals of a majority."""
    return SessionStore(_backend(place, asynchronous=False, durability="power"), max_messages)


def open_safe_async_store(place: Path, *, max_messages: int | None = None) -> AsyncSessionStore:
    """The async store of a place, whose writes wait for the journals of a majority."""
    return AsyncSessionStore(_backend(place, asynchronous=True, durability="power"), max_messages)


def prefix_of(place: Path) -> str:
    """The prefix of a place; two places of one last name have two."""
    plain = re.sub("[^a-z0-9_]", "_", place.name.lower())[:20]
    return f"kit_{plain}_{sha256(str(place).encode()).hexdigest()[:16]}_"


def _backend(place: Path, **options: Any) -> MongoBackend:
    return MongoBackend(os.environ[VARIABLE], prefix=prefix_of(place), pool_size=16, **{"durability": "process", **options})


class Between:
    """The driver of a backend, with something done before or after one of its calls to the server."""

    def __init__(self, backend: Any) -> None:
        self._server = backend.backend._server
        self._driver = self._server.driver
        self._server.driver = self
        self._hooks: list[tuple[str, str, Callable[[], None]]] = []

    def once(self, moment: str, method: str, action: Callable[[], None]) -> None:
        """Do it "before" or "after" the next call of that method."""
        self._hooks.append((moment, method, action))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def call(self, collection: str, method: str, *arguments: Any, **options: Any) -> Any:
        self._run("before", method)
        answer = await self._driver.call(collection, method, *arguments, **options)
        self._run("after", method)
        return answer

    async def rows(self, collection: str, method: str, *arguments: Any, **options: Any) -> Any:
        self._run("before", method)
        answer = await self._driver.rows(collection, method, *arguments, **options)
        self._run("after", method)
        return answer

    def _run(self, moment: str, method: str) -> None:
        for hook in [hook for hook in self._hooks if hook[:2] == (moment, method)][:1]:
            self._hooks.remove(hook)
            hook[2]()
