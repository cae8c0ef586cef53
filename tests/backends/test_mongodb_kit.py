"""MongoDB keeps every promise of the kit, sync and async."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backends.mongodb_stores import open_async_store, open_searching_store, open_store
from tests.servers.mongodb import VARIABLE, shared_url
from turnlog.testing import verify_store

PARTS = [["2"], ["3.0", "3.1", "3.2"], ["3.3", "3.4", "3.5", "3.6", "3.7"], ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]]
ALLOWED = {
    "the store is sync",
    "the store keeps no files in its place",
    "the store makes no directories",
    "no make_newer was given, which would write what a newer version writes",
    "the store syncs nothing by os.fsync: it says that it survives kill -9 only, or its engine syncs for it",
}
"""Why a case may not be run on a store that keeps nothing in files."""

# An AsyncMongoClient that is closed while it still connects to watch the server drops that socket, and Python closes it.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("only", PARTS, ids=lambda part: part[0])
@pytest.mark.parametrize(
    "factory",
    [
        pytest.param(open_store, id="sync"),
        pytest.param(open_async_store, id="async", marks=pytest.mark.soak),
        pytest.param(open_searching_store, id="search", marks=pytest.mark.soak),
    ],
)
def test_mongodb_keeps_every_promise(factory: Any, only: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, shared_url())  # for the processes that the kit starts
    report = verify_store(factory, only=only)
    report.raise_if_failed()
    assert {outcome.reason for outcome in report.not_run} <= ALLOWED
