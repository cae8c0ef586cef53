"""The kit passes what is right: our own stores, sync and async, and the documentation's own class; it says what it cannot try."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.verify.document_store import AsyncDocumentStore, DocumentStore, FileStore
from tests.verify.faults_place import write_version
from tests.verify.planting import on_json, on_sqlite
from turnlog import session
from turnlog.testing import Report, VerificationFailed, verify_protocol_store, verify_store
from turnlog.testing.registry import all_cases
from turnlog.testing.subject import NO_PLACE

ALLOWED = {
    "the store is sync",
    "the store keeps no files of single sessions",
    "the store says that each of its sessions stands alone (backend.copies): there a fork copies and a head change rewrites",
    "no make_newer was given, which would write what a newer version writes",
    "the backend drops no record that a history shows",
    "no file in the place holds the texts of messages one after the other",
    "the store syncs nothing by os.fsync: it says that it survives kill -9 only, or its engine syncs for it",
}
"""Why a case may not be run on a store of ours that is given a place."""


def check(report: Report, *, kind: str, reasons: set[str]) -> None:
    """The report is of this kind and without failures; what was not run was so for these reasons only."""
    report.raise_if_failed()
    assert report.passed
    assert report.failures == []
    assert report.kind == kind
    assert {outcome.reason for outcome in report.not_run} <= reasons
    assert f"0 failed, {len(report.not_run)} not run" in str(report)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("factory", "way"),
    [
        pytest.param(partial(on_sqlite, session.SqliteSessionStore), "sync", id="sqlite"),
        pytest.param(partial(on_sqlite, session.AsyncSqliteSessionStore), "async", id="sqlite-async"),
        pytest.param(partial(on_json, session.DefaultSessionStore), "sync", id="json"),
        pytest.param(partial(on_json, session.AsyncDefaultSessionStore), "async", id="json-async"),
    ],
)
def test_our_stores_keep_every_promise(factory: Any, way: str) -> None:
    check(verify_store(factory), kind=f"full store, {way}", reasons=ALLOWED)


@pytest.mark.parametrize(
    ("factory", "way"),
    [
        pytest.param(session.InMemorySessionStore, "sync", id="memory"),
        pytest.param(session.AsyncInMemorySessionStore, "async", id="memory-async"),
    ],
)
def test_stores_without_a_place_are_tried_as_far_as_they_can_be(factory: Any, way: str) -> None:
    report = verify_store(factory)
    check(report, kind=f"full store, {way}", reasons={*ALLOWED, NO_PLACE})
    not_run = {outcome.number for outcome in report.not_run}
    assert {"3.2.5", "3.4.4"} <= not_run, "races of processes and kills cannot be tried in memory, and are not said to be passed"
    assert not {"3.13.2", "3.7.10"} & not_run


@pytest.mark.parametrize(
    "factory", [session.InMemorySessionStore, session.SqliteSessionStore, session.DefaultSessionStore, session.AsyncSqliteSessionStore]
)
def test_our_stores_keep_what_five_methods_can(factory: Any) -> None:
    report = verify_protocol_store(factory)
    check(report, kind=f"five methods, {'async' if 'Async' in factory.__name__ else 'sync'}", reasons={*ALLOWED, NO_PLACE})


@pytest.mark.parametrize(("factory", "way"), [(DocumentStore, "sync"), (AsyncDocumentStore, "async"), (FileStore, "sync")])
def test_a_class_of_twenty_lines_passes_the_five_methods(factory: Any, way: str) -> None:
    report = verify_protocol_store(factory)
    check(report, kind=f"five methods, {way}", reasons={*ALLOWED, NO_PLACE})
    assert len(report.outcomes) - len(report.not_run) >= 30


def test_a_five_method_class_is_no_full_store() -> None:
    report = verify_store(DocumentStore, only=["2.30", "3.2.7", "3.7.13"])
    assert not report.passed
    assert [outcome.number for outcome in report.failures] == ["2.30", "3.2.7", "3.7.13"]
    with pytest.raises(VerificationFailed, match="BREAKS ITS PROMISES"):
        report.raise_if_failed()


def test_a_newer_format_is_tried_where_the_author_can_write_one() -> None:
    factory = partial(on_sqlite, session.SqliteSessionStore)
    report = verify_store(factory, only=["3.11.1"], make_newer=lambda place: write_version(place, 10_000))
    assert [outcome.status for outcome in report.outcomes] == ["passed"], str(report)


@pytest.mark.parametrize("kind", [session.DefaultSessionStore, session.AsyncDefaultSessionStore])
def test_what_a_store_syncs_is_heard(kind: Any) -> None:
    def open_durable(place: Path) -> Any:
        return kind(place / "sessions", durability="power")

    report = verify_store(open_durable, only=["3.4.12"])
    assert [outcome.status for outcome in report.outcomes] == ["passed"], str(report)


def test_the_authors_own_meter_is_asked() -> None:
    readings = iter(range(0, 10**9, 1000))
    report = verify_store(session.InMemorySessionStore, only=["3.10.4"], meter=lambda: next(readings))
    assert report.passed, "a cost that is always the same does not grow"
    spent = {"now": 0, "step": 0}

    def growing() -> int:
        spent["step"] += 1
        spent["now"] += spent["step"] * 1000
        return spent["now"]

    report = verify_store(session.InMemorySessionStore, only=["3.10.4"], meter=growing)
    assert "units of the store's own meter" in report.failures[0].seen


def test_an_async_factory_is_awaited(tmp_path: Path) -> None:
    async def connect() -> Any:
        return session.AsyncInMemorySessionStore()

    report = verify_store(connect, only=["1.2", "1.4", "2.60"])
    check(report, kind="full store, async", reasons=set())


def test_every_case_has_a_sentence_and_promises_are_all_there() -> None:
    cases = all_cases()
    assert len(cases) > 215
    assert all(not one.title.endswith(".") and len(one.title.split()) > 3 for one in cases)
    promises = {".".join(one.number.split(".")[:2]) for one in cases if one.number.startswith("3.")}
    assert promises == {f"3.{number}" for number in range(14)}
    assert [one.order for one in cases] == sorted(one.order for one in cases)


def test_an_unknown_number_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'3\.99'"):
        verify_protocol_store(DocumentStore, only=["3.99"])


def test_the_same_seed_gives_the_same_run() -> None:
    reports = [verify_store(partial(Wobbly, seed), only=["3.0.1"], seed=seed) for seed in (1, 1, 2)]
    seen = [report.failures[0].seen for report in reports]
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


class Wobbly(session.InMemorySessionStore):
    """Forgets a message of every longer turn."""

    def __init__(self, number: int = 0) -> None:
        super().__init__()

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        return super().add_messages(session_id, messages[:3], expect_revision=expect_revision)
