"""PostgreSQL keeps every promise of the kit, sync and async, also where every commit waits for a standby."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.backends.postgres_stores import open_async_store, open_store, schema_of
from tests.backends.promises import EVERY_PART, check_promises
from tests.servers.postgres import VARIABLE, replica, server, shared_url
from turnlog.backends.postgres import PostgresBackend
from turnlog.store.sync import SessionStore
from turnlog.testing.registry import Level, all_cases

BOTH_WAYS = pytest.mark.parametrize("factory", [pytest.param(open_store, id="sync"), pytest.param(open_async_store, id="async")])


def open_searching_store(place: Path, *, max_messages: int | None = None) -> SessionStore:
    """The sync store of a place, which indexes words."""
    options = {"schema": schema_of(place), "durability": "process", "pool_size": 8, "search": True}
    return SessionStore(PostgresBackend(os.environ[VARIABLE], **options), max_messages)


@pytest.fixture(scope="module")
def safe_url() -> Iterator[str]:
    """A server that syncs, and whose every commit waits for a standby."""
    with server() as primary, replica(primary):
        yield primary.url


@pytest.mark.timeout(300)
@EVERY_PART
def test_postgres_keeps_every_promise(only: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    put_to(open_store, shared_url(), only, "quick", monkeypatch)


@pytest.mark.timeout(300)
def test_postgres_keeps_what_only_an_async_store_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    put_to(open_async_store, shared_url(), [each.number for each in all_cases() if "async" in each.needs], "quick", monkeypatch)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@EVERY_PART
@pytest.mark.parametrize(
    "factory",
    [
        pytest.param(open_store, id="sync"),
        pytest.param(open_async_store, id="async"),
        pytest.param(open_searching_store, id="search"),
    ],
)
def test_postgres_keeps_every_promise_at_full_level(factory: Any, only: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    put_to(factory, shared_url(), only, "full", monkeypatch)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@EVERY_PART
@BOTH_WAYS
def test_postgres_keeps_every_promise_with_a_standby(factory: Any, only: list[str], safe_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_to(factory, safe_url, only, "full", monkeypatch)


def put_to(factory: Any, url: str, only: list[str], level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a part of the kit to the stores of a server."""
    monkeypatch.setenv(VARIABLE, url)  # for the processes that the kit starts
    check_promises(factory, level, only=only, make_newer=make_newer)


def make_newer(place: Path) -> None:
    """Raise the number of the format of a store that the kit has made."""
    with psycopg.connect(os.environ[VARIABLE], autocommit=True) as connection:
        changed = connection.execute(f"UPDATE {schema_of(place)}.format SET version = 99".encode())
        assert changed.rowcount == 1
