"""MongoDB when things go wrong: answers that are lost, servers that are away, hang or fail over, cancelled calls, forks."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.samples import a_head, all_ids, record, records, run_threads
from tests.servers.cut_line import CutLine
from tests.servers.mongodb import DATABASE, MongoServer, new_prefix, primary_of, replica_set, server, shared_url
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.port import Appended
from turnlog.errors import BackendUnavailableError, ConflictError, StorageError
from turnlog.heads import Reference, Stretch
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore

SOON = 1.5
"""Seconds that the stores of these tests wait."""


@pytest.fixture
def line() -> Iterator[CutLine]:
    port = int(shared_url().rpartition("@")[2].partition("://")[2].partition(":")[2].partition("/")[0])
    # Commands of the store name a collection with its prefix; what the driver asks to watch the server does not.
    with CutLine(port, only=b"_lost_") as made:
        yield made


@pytest.fixture(params=["blocking", "async"])
def pair(request: pytest.FixtureRequest, line: CutLine) -> Iterator[tuple[Any, Driven]]:
    """A backend behind the line, called without await, with a session "s"; and one beside the line."""
    prefix = new_prefix() + "_lost_"
    beside = Driven(MongoBackend(shared_url(), prefix=prefix, durability="process"))
    beside.put_head(a_head(), expect=None)
    url = f"mongodb://127.0.0.1:{line.port}/{DATABASE}?directConnection=true&retryReads=false"
    backend = MongoBackend(url, asynchronous=request.param == "async", prefix=prefix, durability="process", timeout=SOON)
    if request.param == "blocking":
        behind: Any = Driven(backend)
        behind.get_head("s")
        yield behind, beside
        behind.close()
    else:
        with asyncio.Runner() as runner:
            behind = Awaited(backend, runner)
            behind.get_head("s")
            yield behind, beside
            behind.close()
    beside.close()


class Awaited:
    """An async backend whose calls run on one loop."""

    def __init__(self, backend: Any, runner: asyncio.Runner) -> None:
        self.backend = backend
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.backend, name)

        async def await_it(arguments: Any, options: Any) -> Any:
            return await method(*arguments, **options)

        return lambda *arguments, **options: self._runner.run(await_it(arguments, options))


class TestLostAnswers:
    @pytest.mark.parametrize("moment", ["request", "answer"])
    @pytest.mark.parametrize("size", [1, 3])
    @pytest.mark.parametrize("expect", [None, "r1.0"])
    def test_an_append_is_stored_once(self, pair: Any, line: CutLine, moment: Any, size: int, expect: str | None) -> None:
        behind, beside = pair
        line.cut(moment)
        done = behind.append("s", records(0, size), now=3.0, expect=expect)
        assert done == Appended("r1.1", size, moment == "answer")
        assert line.cuts == 1
        assert all_ids(beside) == [f"m{n}" for n in range(size)]
        assert beside.get_head("s") == a_head(counter=1, length=size, updated_at=3.0)

    def test_an_append_is_stored_once_when_its_answer_is_lost_and_it_is_moved_meanwhile(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: [beside.append("s", [record(f"o{n}")], now=4.0, expect=None) for n in range(100)])
        assert behind.append("s", records(0, 2), now=3.0, expect="r1.0") == Appended("r1.101", 102, True)
        assert len(all_ids(beside)) == 102

    def test_an_append_is_stored_once_when_others_append_meanwhile(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("request", lambda: beside.append("s", [record("another")], now=4.0, expect=None))
        with pytest.raises(ConflictError):
            behind.append("s", records(1, 2), now=5.0, expect="r1.0")
        assert all_ids(beside) == ["another"]

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

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_a_changed_head_is_stored_once(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        changed = a_head(counter=1, fields={"title": "T"})
        line.cut(moment)
        assert behind.put_head(changed, expect="r1.0") is True
        assert beside.get_head("s") == changed

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

    def test_a_line_that_breaks_again_is_an_error(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("request", lambda: line.cut("request"))
        with pytest.raises(BackendUnavailableError) as caught:
            behind.append("s", records(0, 1), now=3.0, expect=None)
        assert caught.value.host == f"127.0.0.1:{line.port}"  # type: ignore[attr-defined]
        assert all_ids(beside) == []
        assert behind.append("s", records(0, 1), now=3.0, expect=None) == Appended("r1.1", 1, False)


def said(error: BaseException | None) -> str:
    """An error with all that led to it, as a traceback shows it."""
    return "" if error is None else f"{error} {error!r} {said(error.__cause__ or error.__context__)}"


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

    def test_what_was_acknowledged_outlives_a_kill_of_the_server(self) -> None:
        with server() as private:
            backend = Driven(MongoBackend(private.url, timeout=SOON))
            backend.put_head(a_head(), expect=None)
            acknowledged: list[str] = []

            def write(writer: int) -> None:
                if writer == 4:
                    while len(acknowledged) < 120:
                        time.sleep(0.005)
                    private.stop(signal.SIGKILL)
                    return
                number = 0
                while True:
                    try:
                        backend.append("s", [record(f"{writer}.{number}")], now=1.0, expect=None)
                    except BackendUnavailableError:
                        return
                    acknowledged.append(f"{writer}.{number}")
                    number += 1

            run_threads(write, 5)
            private.start()
            stored = all_ids(backend)
            assert len(stored) == len(set(stored)) == backend.get_head("s").length
            assert set(acknowledged) <= set(stored)
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
    def test_every_acknowledged_message_outlives_the_primary(self) -> None:
        with replica_set() as (url, members):
            store = SessionStore(MongoBackend(url, timeout=10.0))
            acknowledged: list[str] = []

            def write(writer: int) -> None:
                number = 0
                while len(acknowledged) < 500:
                    name = f"{writer}.{number}"
                    try:
                        store.add_message(f"s{writer % 3}", "user", name, message_id=name)
                    except BackendUnavailableError:
                        continue
                    acknowledged.append(name)
                    number += 1

            def fail_over(writer: int) -> None:
                if writer < 6:
                    return write(writer)
                while len(acknowledged) < 200:
                    time.sleep(0.01)
                primary_of(members).stop(signal.SIGKILL)
                return None

            run_threads(fail_over, 7)
            stored = [message["content"] for n in range(3) for message in store.get_chat_history(f"s{n}")]
            assert len(stored) == len(set(stored))
            assert set(acknowledged) <= set(stored)
            store.close()

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

    def test_a_majority_that_is_missing_is_said(self) -> None:
        with replica_set() as (url, members):
            backend = Driven(MongoBackend(url, timeout=SOON))
            backend.put_head(a_head(), expect=None)
            others = [member for member in members if member is not primary_of(members)]
            for member in others:
                member.pause()
            with pytest.raises(BackendUnavailableError):
                backend.append("s", [record("m0")], now=1.0, expect=None)
            for member in others:
                member.resume()
            deadline = time.monotonic() + 30
            while True:
                try:
                    assert backend.append("s", [record("m0")], now=1.0, expect=None) is not None
                    break
                except BackendUnavailableError:
                    assert time.monotonic() < deadline
            assert all_ids(backend) == ["m0"]
            backend.close()


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

    def test_a_forked_child_connects_anew(self, run_python: Callable[..., Any]) -> None:
        done = run_python("-W", "ignore::DeprecationWarning", "-c", FORKING, shared_url(), new_prefix())
        assert done.stdout.split() == ["child", "parent", "6"]
        assert done.stderr == ""


FORKING = """
import os, sys
from turnlog.backends.mongodb import MongoBackend
from turnlog.store.sync import SessionStore
store = SessionStore(MongoBackend(sys.argv[1], prefix=sys.argv[2], durability="process"))
store.add_messages("s", [{"role": "user", "content": "before"}] * 2)
child = os.fork()
for number in range(2):
    store.add_message("s", "user", f"{child} {number}")
if child == 0:
    store.close()
    print("child", flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.add_message("s", "user", "after")
print("parent", len(store.get_chat_history("s")) - 1)
store.close()
"""
