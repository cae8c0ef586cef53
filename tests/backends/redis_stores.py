"""Stores on a Redis server as the verification kit opens them, also from other processes: at the top of a module, with the URL bound."""

from __future__ import annotations

from pathlib import Path

from turnlog.backends.redis import RedisBackend, open_backend
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore


def sync_store(url: str, place: Path, max_messages: int | None = None) -> SessionStore:
    """The store of a place: its prefix is named after the place."""
    return SessionStore(backend_at(url, place, asynchronous=False), max_messages)


def async_store(url: str, place: Path, max_messages: int | None = None) -> AsyncSessionStore:
    """``sync_store`` for event loops."""
    return AsyncSessionStore(backend_at(url, place, asynchronous=True), max_messages)


def backend_at(url: str, place: Path, *, asynchronous: bool) -> RedisBackend:
    """The backend of a place that is there."""
    mark = "&" if "?" in url else "?"
    prefix = "-".join(place.resolve(strict=True).parts[-2:])
    return open_backend(f"{url}{mark}prefix={prefix}", asynchronous=asynchronous)
