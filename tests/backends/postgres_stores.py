"""Stores on a PostgreSQL server that the kit opens, one schema for each place, backends that tests open, and looks behind their backs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import psycopg

from tests.backends.conftest import Driven
from tests.servers.postgres import VARIABLE, shared_url
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


def openers(schema: str) -> Iterator[Callable[..., Driven]]:
    """What opens backends on one schema, driven; all are closed afterwards."""
    opened = []

    def opening(**options: Any) -> Driven:
        options = {"url": shared_url(), "schema": schema, "durability": "process", **options}
        opened.append(Driven(PostgresBackend(**options)))
        return opened[-1]

    yield opening
    for each in opened:
        each.close()


def ask(statement: str) -> list[tuple[Any, ...]]:
    """Run a statement behind every store's back; its rows."""
    with psycopg.connect(shared_url(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def while_others(statement: str, verb: Callable[[], Any], values: Any = None) -> Any:
    """What the verb gives that is called while somebody else has run the statement, and commits it only then."""
    with psycopg.connect(shared_url()) as other, ThreadPoolExecutor(1) as thread:
        other.execute(statement.encode(), values)
        answer = thread.submit(verb)
        wait([answer], timeout=0.3)
        other.commit()
        return answer.result()


def _backend(place: Path, *, asynchronous: bool) -> PostgresBackend:
    url = os.environ[VARIABLE]
    # Sixteen processes of the kit share a server with whoever else tests on it.
    return PostgresBackend(url, asynchronous=asynchronous, schema=schema_of(place), durability="process", pool_size=8)
