"""MongoDB when things go wrong: answers that are lost, servers that are away or hang, cancelled calls."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.lines import Pair, a_pair, line_to, said
from tests.backends.samples import a_head, all_ids, record, records, run_threads
from tests.servers.cut_line import CutLine
from tests.servers.mongodb import MongoServer, replica_set, server
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.port import Appended
from turnlog.errors import BackendUnavailableError, StorageError
from turnlog.heads import Reference, Stretch
from turnlog.store.aio import AsyncSessionStore

SOON = 1.5
"""Seconds that the stores of these tests wait."""


@pytest.fixture
def line() -> Iterator[CutLine]:
    with line_to("mongodb") as made:
        yield made


@pytest.fixture(params=["blocking", "async"])
def pair(request: pytest.FixtureRequest, line: CutLine) -> Iterator[Pair]:
    with a_pair("mongodb", line, asynchronous=request.param == "async", timeout=SOON) as made:
        yield made


class TestLostAnswers:
    def test_an_append_is_stored_once_when_its_answer_is_lost_and_it_is_moved_meanwhile(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: [beside.append("s", [record(f"o{n}")], now=4.0, expect=None) for n in range(100)])
        assert behind.append("s", records(0, 2), now=3.0, expect="r1.0") == Appended("r1.101", 102, True)
        assert len(all_ids(beside)) == 102

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_appends_that_fill_the_buffer_are_stored_once(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        for number in range(100):
            if number % 32 in (31, 0):
                line.cut(moment)
            behind.append("s", [record(f"m{number}")], now=3.0, expect=None)
        assert line.cuts == 7
        assert all_ids(beside) == [f"m{n}" for n in range(100)]
        assert beside.append("s", records(0, 100), now=3.0, expect=None).known

    @pytest.mark.parametrize("moment", ["request", "answer"])
    @pytest.mark.parametrize("size", [2, 40])
    def test_a_new_head_is_stored_once(self, pair: Any, line: CutLine, moment: Any, size: int) -> None:
        behind, beside = pair
        first = records(0, size)
        line.cut(moment)
        if size == 2:
            # These lie in the head; more of them are written before it.
            assert behind.put_head(a_head("t", "r2", length=size), expect=None, records=first) is True
        else:
            with pytest.raises(BackendUnavailableError, match="may have been stored"):
                behind.put_head(a_head("t", "r2", length=size), expect=None, records=first)
            assert beside.get_head("t") is None
            assert behind.put_head(a_head("t", "r3", length=size), expect=None, records=first) is True
        assert line.cuts == 1
        run = beside.get_head("t").run
        assert len(all_ids(beside, "t", run)) == size

    def test_a_change_is_known_again_after_appends(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: beside.append("s", [record("other")], now=4.0, expect=None))
        assert behind.put_head(a_head(counter=1, fields={"title": "T"}), expect="r1.0") is True
        assert beside.get_head("s") == a_head(counter=2, length=1, updated_at=4.0, fields={"title": "T"})

    def test_what_cannot_be_decided_is_said(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: beside.put_head(a_head(counter=2), expect="r1.1"))
        with pytest.raises(BackendUnavailableError, match="may have been stored") as caught:
            behind.put_head(a_head(counter=1, fields={"title": "T"}), expect="r1.0")
        assert caught.value.host == f"127.0.0.1:{line.port}"  # type: ignore[attr-defined]
        assert beside.get_head("s") == a_head(counter=2)

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_verbs_that_may_be_done_twice_are(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        beside.append("s", records(0, 2), now=3.0, expect=None)
        for verb in (
            lambda: behind.put_row("s", "r1", "snapshot", "k", "1") is True,
            lambda: behind.put_row("s", "r1", "draft", "k", "1") is True,
            lambda: behind.add_reference(Reference("s", "r1", "c", "cr", 1)) is True,
            lambda: behind.mark_run("s", "r1", None, closed=False) is None,
            lambda: behind.drop_rows("s", "r1", "draft") is None,
            lambda: behind.remove_head("s", "r1", expect="r1.1") is True,
        ):
            line.cut(moment)
            assert verb()
        assert line.cuts == 6
        assert (beside.get_head("s"), all_ids(beside)) == (None, ["m0", "m1"])
        assert beside.get_rows("s", "r1", "snapshot") == {"k": "1"}


class TestAway:
    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_a_server_that_is_not_there_is_named_without_the_password(self, asynchronous: bool) -> None:
        with CutLine(1) as unused:
            port = unused.port

        async def look() -> None:
            backend = MongoBackend(f"mongodb://u:sesame@127.0.0.1:{port}/d", asynchronous=asynchronous, timeout=SOON)
            try:
                await backend.get_head("s")
            finally:
                await backend.close()

        begun = time.monotonic()
        with pytest.raises(BackendUnavailableError) as caught:
            asyncio.run(look())
        assert time.monotonic() - begun < 3 * SOON
        assert caught.value.host == f"127.0.0.1:{port}"  # type: ignore[attr-defined]
        assert f"127.0.0.1:{port}" in str(caught.value)
        assert "sesame" not in said(caught.value)

    def test_a_wrong_password_is_named_as_that(self) -> None:
        with server("--auth") as private:
            backend = Driven(MongoBackend(private.url.replace("://", "://u:sesame@")))
            with pytest.raises(StorageError, match="check user, password") as caught:
                backend.get_head("s")
            assert "sesame" not in said(caught.value)
            backend.close()

    def test_a_server_that_comes_back_is_found_again(self) -> None:
        with server() as private:
            backend = Driven(MongoBackend(private.url, timeout=SOON))
            backend.put_head(a_head(), expect=None)
            run_threads(lambda n: backend.append("s", [record(f"a{n}")], now=1.0, expect=None), 6)
            for how in (signal.SIGTERM, signal.SIGKILL):
                private.stop(how)
                with pytest.raises(BackendUnavailableError):
                    backend.append("s", [record(f"while {how.name}")], now=1.0, expect=None)
                private.start()
                assert not backend.append("s", [record(f"after {how.name}")], now=1.0, expect=None).known
                backend.put_row("s", "r1", "draft", "k", how.name)
            # A restart that nobody saw: the pooled connections are dead, and the first verb finds out.
            private.stop(signal.SIGTERM)
            private.start()
            assert backend.put_row("s", "r1", "draft", "k", "again") is True
            assert len(all_ids(backend)) == 8
            backend.close()

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_a_server_that_hangs_is_given_up(self, asynchronous: bool) -> None:
        async def work(private: MongoServer) -> None:
            backend = MongoBackend(private.url, asynchronous=asynchronous, timeout=SOON)
            await backend.put_head(a_head(), expect=None)
            private.pause()
            begun = time.monotonic()
            with pytest.raises(BackendUnavailableError):
                await backend.append("s", [record("m0")], now=1.0, expect=None)
            assert SOON < time.monotonic() - begun < 8 * SOON
            private.resume()
            assert await backend.append("s", [record("m0")], now=1.0, expect=None) is not None
            assert [r.id for r in await backend.read("s", [Stretch("r1", 0, 9)])] == ["m0"]
            await backend.close()

        with server() as private:
            asyncio.run(work(private))


@pytest.mark.soak
class TestReplicaSets:
    def test_a_store_on_a_replica_set_keeps_its_forks_and_rows(self) -> None:
        async def work(url: str) -> None:
            async with AsyncSessionStore(MongoBackend(url, asynchronous=True)) as store:
                await store.add_messages("s", [{"role": "user", "content": f"{n}"} for n in range(100)])
                mark = await store.create_snapshot("s")
                child = await store.fork_session("s", 59)
                await asyncio.gather(*(store.add_message(name, "user", f"more {n}") for name in ("s", child) for n in range(40)))
                await store.revert_to_snapshot("s", mark)
                await store.delete_session("s")
                history = await store.get_chat_history(child)
                assert [message["content"] for message in history[:60]] == [f"{n}" for n in range(60)]
                assert len(history) == 100

        with replica_set() as (url, _):
            asyncio.run(work(url))


class TestCallers:
    def test_a_cancelled_call_leaves_the_pool_whole(self) -> None:
        async def work(private: MongoServer) -> None:
            backend = MongoBackend(private.url, asynchronous=True, pool_size=2)
            await backend.put_head(a_head(), expect=None)
            private.pause()
            calls = [asyncio.create_task(backend.append("s", [record(f"m{n}")], now=1.0, expect=None)) for n in range(5)]
            await asyncio.sleep(0.3)
            for call in calls:
                call.cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [asyncio.CancelledError] * 5
            private.resume()
            again = await asyncio.gather(*(backend.append("s", [record(f"m{n}")], now=1.0, expect=None) for n in range(5)))
            assert None not in again
            assert sorted(r.id for r in await backend.read("s", [Stretch("r1", 0, 9)])) == [f"m{n}" for n in range(5)]
            await backend.close()

        with server() as private:
            asyncio.run(work(private))
