"""PostgreSQL when things go wrong: answers that are lost, servers that are away, hang, come back or fail over."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.backends.conftest import Driven
from tests.backends.samples import a_head, all_ids, record, records, run_threads
from tests.servers.cut_line import CutLine
from tests.servers.postgres import PostgresServer, new_schema, replica, server, shared_url
from turnlog.backends.port import Appended
from turnlog.backends.postgres import PostgresBackend
from turnlog.errors import BackendUnavailableError, ConflictError, StorageError
from turnlog.heads import Reference
from turnlog.store.sync import SessionStore

SOON = 1.0
"""Seconds that the stores of these tests wait."""


def through(line: CutLine) -> str:
    """The URL of the shared server by way of the line."""
    before, _, after = shared_url().rpartition("@")
    return f"{before}@127.0.0.1:{line.port}/{after.partition('/')[2]}"


def port_of(url: str) -> int:
    return int(url.rpartition("@")[2].partition(":")[2].partition("/")[0])


@pytest.fixture
def line() -> Iterator[CutLine]:
    # Statements name the schema; what the pool sends to connect, at any time, does not.
    with CutLine(port_of(shared_url()), only=b"turnlog_test_") as made:
        yield made


@pytest.fixture(params=["blocking", "async"])
def pair(request: pytest.FixtureRequest, line: CutLine) -> Iterator[tuple[Any, Driven]]:
    """A backend behind the line, called without await, with a session "s"; and one beside the line."""
    schema = new_schema()
    beside = Driven(PostgresBackend(shared_url(), schema=schema, durability="process"))
    beside.put_head(a_head(), expect=None)
    backend = PostgresBackend(through(line), asynchronous=request.param == "async", schema=schema, durability="process", timeout=SOON)
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

    def test_an_append_is_stored_once_when_others_append_meanwhile(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: beside.append("s", [record("other")], now=4.0, expect=None))
        assert behind.append("s", records(0, 1), now=3.0, expect="r1.0") == Appended("r1.2", 2, True)
        line.cut("request", lambda: beside.append("s", [record("another")], now=4.0, expect=None))
        with pytest.raises(ConflictError):
            behind.append("s", records(1, 2), now=5.0, expect="r1.2")
        assert all_ids(beside) == ["m0", "other", "another"]

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_a_new_head_is_stored_once(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        line.cut(moment)
        assert behind.put_head(a_head("t", "r2", length=2), expect=None, records=records(0, 2)) is True
        assert line.cuts == 1
        assert beside.get_head("t") == a_head("t", "r2", length=2)
        assert all_ids(beside, "t", "r2") == ["m0", "m1"]

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_a_changed_head_is_stored_once(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        changed = a_head(counter=1, fields={"title": "T"})
        line.cut(moment)
        assert behind.put_head(changed, expect="r1.0") is True
        assert beside.get_head("s") == changed

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

    def test_every_acknowledged_message_outlives_the_primary(self) -> None:
        with server() as primary, replica(primary) as standby:
            where = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
            url = f"{primary.url.replace(f'127.0.0.1:{primary.port}', where)}?target_session_attrs=read-write"
            store = SessionStore(PostgresBackend(url, timeout=SOON))
            acknowledged: list[str] = []

            def write(writer: int) -> None:
                number = 0
                while len(acknowledged) < 400:
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
                while len(acknowledged) < 150:
                    time.sleep(0.01)
                primary.stop(signal.SIGQUIT)
                standby.promote()
                return None

            run_threads(fail_over, 7)
            stored = [message["content"] for n in range(3) for message in store.get_chat_history(f"s{n}")]
            assert len(stored) == len(set(stored))
            assert set(acknowledged) <= set(stored)
            store.close()
