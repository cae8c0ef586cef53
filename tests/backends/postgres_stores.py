"""Stores on a PostgreSQL server that the kit opens, here and in processes of its own: one schema for each place."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.servers.postgres import VARIABLE
from turnlog.backends.postgres import PostgresBackend
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore


def open_store(place: Path, *, max_messages: int | None = None) -> SessionStore:
    """The sync store of a place."""
    return SessionStore(_backend(place, asynchronous=False), max_messages)


def open_async_store(place: Path, *, max_messages: int | None = None) -> AsyncSessionStore:
    """The async store of a place."""
    return AsyncSessionStore(_backend(place, asynchronous=True), max_messages)


def schema_of(place: Path) -> str:
    """The schema of a place; a place in another one has the same last name, and a schema of its own."""
    return "kit_" + re.sub("[^a-z0-9_]", "_", "_".join(place.parts[-3:]).lower())[-59:]


def _backend(place: Path, *, asynchronous: bool) -> PostgresBackend:
    url = os.environ[VARIABLE]
    # Sixteen processes of the kit share a server with whoever else tests on it.
    return PostgresBackend(url, asynchronous=asynchronous, schema=schema_of(place), durability="process", pool_size=8)
