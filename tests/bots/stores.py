"""Stores for bots, each opened again and again over the same data, as a restart does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.servers import mongodb, postgres, redis
from tests.verify.document_store import AsyncDocumentStore, DocumentStore, FileStore
from turnlog.session import (
    AsyncMongoSessionStore,
    AsyncPostgresSessionStore,
    AsyncRedisSessionStore,
    DefaultSessionStore,
    InMemorySessionStore,
    SqliteSessionStore,
)

Open = Callable[[], Any]


def _kept(make: Callable[[], Any]) -> Callable[[Path], Open]:
    """A store in memory: what is opened again is the same object."""

    def opener(place: Path) -> Open:
        store = make()
        return lambda: store

    return opener


def _redis(place: Path) -> Open:
    prefix = redis.new_prefix()
    return lambda: AsyncRedisSessionStore(redis.shared_url(), prefix=prefix)


def _postgres(place: Path) -> Open:
    schema = postgres.new_schema()
    return lambda: AsyncPostgresSessionStore(postgres.shared_url(), schema=schema, durability="process")


def _mongodb(place: Path) -> Open:
    prefix = mongodb.new_prefix()
    return lambda: AsyncMongoSessionStore(mongodb.shared_url(), prefix=prefix, durability="process")


def _files(place: Path) -> Open:
    (place / "five").mkdir()
    return lambda: FileStore(place / "five")


KINDS: dict[str, Callable[[Path], Open]] = {
    "five methods": _kept(DocumentStore),
    "async five methods": _kept(AsyncDocumentStore),
    "five methods on files": _files,
    "memory": _kept(InMemorySessionStore),
    "json": lambda place: lambda: DefaultSessionStore(place / "json"),
    "sqlite": lambda place: lambda: SqliteSessionStore(place / "s.sqlite"),
    "redis": _redis,
    "postgres": _postgres,
    "mongodb": _mongodb,
}
FIVE = [name for name in KINDS if "five" in name]
FULL = [name for name in KINDS if "five" not in name]
QUICK = ["five methods", "memory", "json", "sqlite"]
