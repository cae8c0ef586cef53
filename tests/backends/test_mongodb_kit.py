"""MongoDB keeps every promise of the kit, sync and async, on a node alone and on a replica set that waits for its majority."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.backends.mongodb_stores import open_async_store, open_safe_async_store, open_safe_store, open_searching_store, open_store
from tests.servers.mongodb import VARIABLE, replica_set, shared_url
from turnlog.testing import verify_store
from turnlog.testing.registry import Level

PARTS = [["2"], ["3.0", "3.1", "3.2"], ["3.3", "3.4", "3.5", "3.6", "3.7"], ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]]
ALLOWED = {
    "the store is sync",
    "the store keeps no files in its place",
    "the store makes no directories",
    "no make_newer was given, which would write what a newer version writes",
    "the store syncs nothing by os.fsync: it says that it survives kill -9 only, or its engine syncs for it",
}
"""Why a case may not be run on a store that keeps nothing in files."""

LIMIT = 1800.0
"""Seconds that a case may take at the full level, whatever else the machine does."""

EVERY_PART = pytest.mark.parametrize("only", PARTS, ids=lambda part: part[0])

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
    report = verify_store(factory, only=only, level=level, time_limit=LIMIT if level == "full" else None)
    report.raise_if_failed()
    assert {outcome.reason for outcome in report.not_run} <= ALLOWED
