"""PostgreSQL when things go wrong: answers that are lost, servers that are away, hang or come back."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.backends.conftest import Driven
from tests.backends.lines import Pair, a_pair, line_to, said
from tests.backends.samples import a_head, all_ids, record, records, run_threads
from tests.servers.cut_line import CutLine
from tests.servers.postgres import PostgresServer, new_schema, server, shared_url
from turnlog.backends.postgres import PostgresBackend
from turnlog.errors import BackendUnavailableError, StorageError
from turnlog.heads import Reference

SOON = 1.0
"""Seconds that the stores of these tests wait."""


@pytest.fixture
def line() -> Iterator[CutLine]:
    with line_to("postgres") as made:
        yield made


@pytest.fixture(params=["blocking", "async"])
def pair(request: pytest.FixtureRequest, line: CutLine) -> Iterator[Pair]:
    with a_pair("postgres", line, asynchronous=request.param == "async", timeout=SOON) as made:
        yield made


class TestLostAnswers:
    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_a_new_head_is_stored_once(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        line.cut(moment)
        assert behind.put_head(a_head("t", "r2", length=2), expect=None, records=records(0, 2)) is True
        assert line.cuts == 1
        assert beside.get_head("t") == a_head("t", "r2", length=2)
        assert all_ids(beside, "t", "r2") == ["m0", "m1"]

    def test_a_new_run_is_known_again_after_appends_to_it(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: beside.append("s", [record("other")], now=4.0, expect=None))
        assert behind.put_head(a_head(run="r2"), expect="r1.0") is True
        assert all_ids(beside, run="r2") == ["other"]

    def test_what_cannot_be_decided_is_said(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: beside.append("s", [record("other")], now=4.0, expect=None))
        with pytest.raises(BackendUnavailableError, match="is not known") as caught:
            behind.put_head(a_head(counter=1, fields={"title": "T"}), expect="r1.0")
        assert caught.value.host == f"127.0.0.1:{line.port}"  # type: ignore[attr-defined]
        assert beside.get_head("s").length == 1

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_verbs_that_may_be_done_twice_are(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        beside.append("s", records(0, 2), now=3.0, expect=None)
        for verb in (
            lambda: [r.id for r in behind.read("s", [(a_head().run, 0, 9)])] == ["m0", "m1"],
            lambda: behind.put_row("s", "r1", "snapshot", "k", "1") is True,
            lambda: behind.add_reference(Reference("s", "r1", "c", "cr", 1)) is True,
            lambda: behind.mark_run("s", "r1", None, closed=False) is None,
            lambda: behind.drop_records("s", "r1", 0, 1) is None,
            lambda: behind.remove_head("s", "r1") is True,
        ):
            line.cut(moment)
            assert verb()
        assert line.cuts == 6
        assert (beside.get_head("s"), all_ids(beside)) == (None, ["m1"])

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_a_head_is_removed_as_expected_or_not_at_all(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        line.cut(moment)
        assert behind.remove_head("s", "r1", expect="r1.0") is True
        assert beside.get_head("s") is None
        beside.put_head(a_head(run="r2"), expect=None)
        line.cut("request", lambda: beside.append("s", [record("other")], now=4.0, expect=None))
        assert behind.remove_head("s", "r2", expect="r2.0") is False
        assert all_ids(beside, run="r2") == ["other"]

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_a_fork_is_stored_once(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        child, claim = a_head("c", "cr"), Reference("s", "r1", "c", "cr", 0)
        line.cut(moment)
        assert behind.put_fork(child, claim, shed=0) == "stored"
        assert line.cuts == 1
        assert (beside.get_head("c"), beside.referenced_runs()) == (child, [claim])

    def test_a_fork_is_known_again_after_its_parent_has_moved(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        child, claim = a_head("c", "cr"), Reference("s", "r1", "c", "cr", 0)
        line.cut("answer", lambda: beside.put_head(a_head(run="r2"), expect="r1.0"))
        assert behind.put_fork(child, claim, shed=0) == "stored"
        line.cut("request", lambda: beside.put_head(a_head(run="r3"), expect="r2.0"))
        assert behind.put_fork(a_head("d", "dr"), Reference("s", "r2", "d", "dr", 0), shed=0) == "moved"
        assert (beside.get_head("d"), beside.referenced_runs()) == (None, [claim])

    def test_a_name_that_another_took_meanwhile_is_taken(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("request", lambda: beside.put_head(a_head("c", "other"), expect=None))
        assert behind.put_fork(a_head("c", "cr"), Reference("s", "r1", "c", "cr", 0), shed=0) == "taken"
        assert (beside.get_head("c").run, beside.referenced_runs()) == ("other", [])

    def test_a_fork_whose_line_breaks_again_is_an_error(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("request", lambda: line.cut("request"))
        with pytest.raises(BackendUnavailableError):
            behind.put_fork(a_head("c", "cr"), Reference("s", "r1", "c", "cr", 0), shed=0)
        assert (beside.get_head("c"), beside.referenced_runs()) == (None, [])

    def test_a_draft_is_not_sent_twice(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer")
        with pytest.raises(BackendUnavailableError, match="may have been stored"):
            behind.put_row("s", "r1", "draft", "k", "1")
        assert beside.get_rows("s", "r1", "draft") == {"k": "1"}


class TestAway:
    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_a_server_that_is_not_there_is_named_without_the_password(self, asynchronous: bool) -> None:
        with CutLine(1) as unused:
            port = unused.port
        backend = PostgresBackend(f"postgresql://u:sesame@127.0.0.1:{port}/d", asynchronous=asynchronous, timeout=SOON)
        begun = time.monotonic()
        with pytest.raises(BackendUnavailableError) as caught:
            asyncio.run(backend.get_head("s")) if asynchronous else Driven(backend).get_head("s")
        assert time.monotonic() - begun < 3 * SOON
        assert caught.value.host == f"127.0.0.1:{port}"  # type: ignore[attr-defined]
        assert f"127.0.0.1:{port}" in str(caught.value)
        assert "sesame" not in said(caught.value)

    def test_a_wrong_password_is_named_as_that(self) -> None:
        user, _, where = shared_url().partition("://")[2].rpartition("@")
        backend = Driven(PostgresBackend(f"postgresql://{user.partition(':')[0]}:sesame@{where}"))
        with pytest.raises(BackendUnavailableError, match="authentication failed") as caught:
            backend.get_head("s")
        assert "sesame" not in said(caught.value)

    def test_no_error_shows_what_was_to_be_stored(self) -> None:
        schema = new_schema()
        backend = Driven(PostgresBackend(shared_url(), schema=schema, durability="process"))
        backend.put_head(a_head(), expect=None)
        with psycopg.connect(shared_url(), autocommit=True) as other:
            other.execute(f"ALTER TABLE {schema}.records ADD CHECK (body NOT LIKE '%secret%')".encode())
        with pytest.raises(StorageError, match="23514") as caught:
            backend.append("s", [record("m0", "secret")], now=1.0, expect=None)
        assert "secret" not in str(caught.value)
        assert backend.get_head("s") == a_head()
        backend.close()

    @pytest.mark.soak  # while it is stopped, its port is free for a server of a test that runs beside it
    def test_a_server_that_comes_back_is_found_again(self) -> None:
        with server() as private:
            backend = Driven(PostgresBackend(private.url, timeout=SOON))
            backend.put_head(a_head(), expect=None)
            run_threads(lambda n: backend.append("s", [record(f"a{n}")], now=1.0, expect=None), 6)
            for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                private.stop(how)
                with pytest.raises(BackendUnavailableError):
                    backend.append("s", [record(f"while {how.name}")], now=1.0, expect=None)
                private.start()
                assert not backend.append("s", [record(f"after {how.name}")], now=1.0, expect=None).known
                backend.put_row("s", "r1", "draft", "k", how.name)
            # A restart that nobody saw: the pooled connections are dead, and the first verb does not notice.
            private.stop()
            private.start()
            assert backend.put_row("s", "r1", "draft", "k", "again") is True
            assert len(all_ids(backend)) == 9
            backend.close()

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_a_server_that_hangs_is_given_up(self, asynchronous: bool) -> None:
        async def work(private: PostgresServer) -> None:
            backend = PostgresBackend(private.url, asynchronous=asynchronous, timeout=SOON)
            await backend.put_head(a_head(), expect=None)
            private.pause()
            begun = time.monotonic()
            with pytest.raises(BackendUnavailableError, match="did not answer"):
                await backend.append("s", [record("m0")], now=1.0, expect=None)
            assert SOON < time.monotonic() - begun < 10 * SOON
            private.resume()
            assert await backend.append("s", [record("m0")], now=1.0, expect=None) is not None
            head = await backend.get_head("s")
            assert head is not None
            assert head.length == 1
            await backend.close()

        with server() as private:
            asyncio.run(work(private))
