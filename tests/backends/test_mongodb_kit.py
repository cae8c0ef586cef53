"""MongoDB keeps every promise of the kit, sync and async, on a node alone and on a replica set that waits for its majority."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.backends.mongodb_stores import (
    open_async_store,
    open_safe_async_store,
    open_safe_store,
    open_searching_store,
    open_store,
    prefix_of,
)
from tests.backends.promises import EVERY_PART, check_promises
from tests.servers.mongodb import DATABASE, VARIABLE, replica_set, shared_url
from turnlog.testing.registry import Level, all_cases

# An AsyncMongoClient that is closed while it still connects to watch the server drops that socket, and Python closes it.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(scope="module")
def safe_url() -> Iterator[str]:
    """A replica set of three."""
    with replica_set() as (url, _):
        yield url


@pytest.mark.timeout(300)
@EVERY_PART
def test_mongodb_keeps_every_promise(only: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    put_to(open_store, shared_url(), only, "quick", monkeypatch)


@pytest.mark.timeout(300)
def test_mongodb_keeps_what_only_an_async_store_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    put_to(open_async_store, shared_url(), [each.number for each in all_cases() if "async" in each.needs], "quick", monkeypatch)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@EVERY_PART
@pytest.mark.parametrize(
    "factory",
    [
        pytest.param(open_store, id="sync"),
        pytest.param(open_async_store, id="async"),
        pytest.param(open_searching_store, id="search"),
    ],
)
def test_mongodb_keeps_every_promise_at_full_level(factory: Any, only: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    put_to(factory, shared_url(), only, "full", monkeypatch)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@EVERY_PART
@pytest.mark.parametrize("factory", [pytest.param(open_safe_store, id="sync"), pytest.param(open_safe_async_store, id="async")])
def test_a_replica_set_keeps_every_promise_at_full_level(
    factory: Any, only: list[str], safe_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_to(factory, safe_url, only, "full", monkeypatch)


def put_to(factory: Any, url: str, only: list[str], level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a part of the kit to the stores of a server."""
    monkeypatch.setenv(VARIABLE, url)  # for the processes that the kit starts
    check_promises(factory, level, only=only, make_newer=make_newer)


def make_newer(place: Path) -> None:
    """Raise the number of the format of a store that the kit has made."""
    url = os.environ[VARIABLE]
    with MongoClient[Any](url) as client:
        formats = client.get_default_database(DATABASE)[f"{prefix_of(place)}format"]
        assert formats.update_one({}, {"$set": {"version": 99}}).modified_count == 1
