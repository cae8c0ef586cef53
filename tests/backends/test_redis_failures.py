"""Redis servers that are away, full, killed or replaced, and answers that are lost: what was acknowledged stays, once."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.samples import a_head, all_ids, record, records
from tests.servers.cut_line import CutLine
from tests.servers.redis import RedisServer, new_prefix, running, running_sentinel, shared_url
from tests.servers.waiting import wait_until
from turnlog.backends.port import Appended
from turnlog.backends.redis import RedisBackend, open_backend
from turnlog.errors import BackendUnavailableError, StorageError
from turnlog.heads import Parent, Reference
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that a test may kill; what it acknowledges is on the disk."""
    with running("valkey", "--appendonly", "yes", "--appendfsync", "always") as made:
        yield made


@pytest.fixture
def line(server: RedisServer) -> Iterator[CutLine]:
    """A way to that server that loses answers."""
    with CutLine(server.port) as made:
        yield made


@pytest.mark.parametrize(
    ("scheme", "hosts"),
    [
        ("redis", "127.0.0.1:1"),
        ("redis+cluster", "127.0.0.1:1"),
        ("redis+cluster", "127.0.0.1:1,127.0.0.1:2"),
        ("redis+sentinel", "127.0.0.1:1"),
        ("redis+sentinel", "127.0.0.1:1,[::1]:2"),
    ],
)
def test_a_server_that_is_away_is_named_without_the_password(scheme: str, hosts: str) -> None:
    store = SessionStore(open_backend(f"{scheme}://me:hunter2@{hosts}/0", asynchronous=False))
    with pytest.raises(BackendUnavailableError, match=re.escape(hosts)) as caught:
        store.add_message("s", "user", "secret")
    assert caught.value.host == hosts  # type: ignore[attr-defined]
    assert "hunter2" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_that_does_not_answer_is_given_up(redis_prefix: str) -> None:
    with running("valkey") as server:
        backend = Driven(RedisBackend(server.url, prefix=redis_prefix, timeout=0.3))
        backend.put_head(a_head(), expect=None)
        with server.client() as client:
            client.execute_command("CLIENT PAUSE", 3_000)
            with pytest.raises(BackendUnavailableError, match="in time"):
                backend.append("s", records(0, 1), now=3.0, expect=None)
            client.execute_command("CLIENT UNPAUSE")
        assert backend.append("s", records(0, 1), now=3.0, expect=None).messages == 1
        backend.close()


def test_what_was_acknowledged_survives_a_kill_and_the_store_goes_on(server: RedisServer, redis_prefix: str) -> None:
    store = SessionStore(RedisBackend(server.url, prefix=redis_prefix))
    for round_number in range(3):
        for number in range(20):
            store.add_message("s", "user", f"{round_number} {number}")
        server.kill()
        with pytest.raises(BackendUnavailableError):
            store.add_message("s", "user", "nobody there")
        server.start()
    expected = [f"{round_number} {number}" for round_number in range(3) for number in range(20)]
    assert [message["content"] for message in store.get_chat_history("s")] == expected
    store.close()


def test_a_server_that_forgot_the_scripts_is_told_again(redis_prefix: str) -> None:
    with running("redis") as server, server.client() as client:
        store = SessionStore(RedisBackend(server.url, prefix=redis_prefix))
        store.add_message("s", "user", "1")
        client.script_flush()
        store.add_message("s", "user", "2")
        assert len(store.get_chat_history("s")) == 2
        store.close()


def test_a_full_memory_is_refused_with_nothing_half_written(redis_prefix: str) -> None:
    with running("valkey", "--maxmemory", "12mb") as server:
        backend = Driven(RedisBackend(server.url, prefix=redis_prefix))
        backend.put_head(a_head(), expect=None)
        done: list[Appended] = []

        def fill() -> None:
            while len(done) < 1_000:
                batch = [record(f"{len(done)}.{part}", "x" * 50_000) for part in range(3)]
                done.append(backend.append("s", batch, now=3.0, expect=None))

        with pytest.raises(StorageError, match="maxmemory") as caught:
            fill()
        stored = len(done)
        assert stored > 3
        assert not isinstance(caught.value, BackendUnavailableError)
        assert backend.get_head("s").length == len(all_ids(backend)) == 3 * stored
        backend.close()


class TestLostAnswers:
    """The line is cut after the server has done what it was asked."""

    @pytest.fixture
    def backend(self, line: CutLine, redis_prefix: str) -> Iterator[Driven]:
        made = Driven(RedisBackend(f"redis://127.0.0.1:{line.port}", prefix=redis_prefix))
        # The server learns the scripts, so that the answer lost is not that it does not know one.
        made.put_head(a_head("w", "rw"), expect=None)
        made.append("w", records(0, 1), now=3.0, expect=None)
        made.remove_head("w", "rw")
        made.put_head(a_head(), expect=None)
        yield made
        assert line.cuts > 0
        made.close()

    def test_an_append_is_stored_once(self, backend: Any, line: CutLine) -> None:
        line.cut("answer")
        assert backend.append("s", records(0, 2), now=3.0, expect="r1.0") == Appended("r1.1", 2, True)
        assert all_ids(backend) == ["m0", "m1"]

    def test_a_head_is_put_once_and_says_so(self, backend: Any, line: CutLine) -> None:
        line.cut("answer")
        assert backend.put_head(a_head(counter=1, fields={"title": "T"}), expect="r1.0") is True
        line.cut("answer")
        assert backend.put_head(a_head("t", "r2", length=1), expect=None, records=records(0, 1)) is True
        assert backend.get_head("s").counter == 1
        assert all_ids(backend, "t", "r2") == ["m0"]

    def test_a_fork_is_stored_once_and_says_so(self, backend: Any, line: CutLine) -> None:
        # The server learns the script.
        backend.put_fork(a_head("d", "rd"), Reference("s", "r1", "d", "rd", 0), shed=0)
        claim = Reference("s", "r1", "c", "rc", 0)
        line.cut("answer")
        assert backend.put_fork(a_head("c", "rc"), claim, shed=0) == "stored"
        line.cut("answer")
        assert backend.put_fork(a_head("c", "rc"), claim, shed=0) == "taken"
        line.cut("answer")
        assert backend.put_fork(a_head("e", "re"), Reference("s", "r1", "e", "re", 0), shed=1) == "moved"
        assert sorted(each.child_id for each in backend.references("s", "r1")) == ["c", "d"]

    def test_a_fork_whose_ttl_is_sent_again_is_known_to_have_been_born(self, backend: Any, line: CutLine) -> None:
        child = a_head("c", "rc", parent=Parent("s", "b", "r1", -1))
        backend.add_reference(Reference("s", "r1", "c", "rc", 0))
        backend.put_head(child, expect=None)
        assert len(backend.referenced_runs()) == 1
        line.cut("answer")
        assert backend.put_head(replace(child, counter=1, ttl=900.0), expect="rc.0") is True
        assert backend.referenced_runs() == []
        assert [each.child_id for each in backend.references("s", "r1")] == ["c"]

    def test_a_head_that_was_refused_stays_refused(self, backend: Any, line: CutLine) -> None:
        line.cut("answer")
        assert backend.put_head(a_head(run="r2"), expect=None) is False

    def test_a_removed_head_is_said_to_have_been_there(self, backend: Any, line: CutLine) -> None:
        line.cut("answer")
        assert backend.remove_head("s", "r1") is True
        line.cut("answer")
        assert backend.remove_head("s", "r1") is False

    def test_a_store_under_lost_answers_loses_and_doubles_nothing(self, backend: Any, line: CutLine) -> None:
        store = SessionStore(backend.backend)
        for number in range(60):
            if number % 2:
                line.cut("answer")
            store.add_messages("busy", [{"role": "user", "content": f"{number} {part}"} for part in range(2)])
            if number % 5 == 0:
                line.cut("answer")
                child = store.fork_session("busy")
                line.cut("answer")
                store.set_title(child, f"{number}")
                line.cut("answer")
                store.delete_session(child)
        expected = [f"{number} {part}" for number in range(60) for part in range(2)]
        assert [message["content"] for message in store.get_chat_history("busy")] == expected
        assert store.get_children("busy") == []
        assert backend.marked_runs() == backend.referenced_runs() == []


def test_wait_refuses_to_acknowledge_what_too_few_replicas_have(redis_prefix: str) -> None:
    with running("redis") as primary, running("redis", "--replicaof", f"127.0.0.1 {primary.port}") as replica:
        one = SessionStore(open_backend(f"{primary.url}?prefix={redis_prefix}&wait=1", asynchronous=False))
        one.add_message("s", "user", "x", message_id="m")
        with replica.client() as client:
            assert client.hget(f"{{{redis_prefix}.0}}:h:s", "length") == b"1"
        two = SessionStore(RedisBackend(primary.url, prefix=redis_prefix, wait=2, timeout=0.5))
        for _ in range(2):
            # A repeat finds the message known, and waits all the same.
            with pytest.raises(StorageError, match="1 of 2 replicas"):
                two.add_message("s", "user", "y", message_id="n")
        one.add_message("s", "user", "y", message_id="n")
        assert len(one.get_chat_history("s")) == 2
        one.close()
        two.close()


def test_a_failover_by_sentinel_loses_nothing_that_an_event_loop_waited_for(redis_prefix: str) -> None:
    async def fill(backend: RedisBackend) -> list[str]:
        await backend.put_head(a_head(), expect=None)
        names = [f"m{number}" for number in range(30)]
        for name in names:
            await backend.append("s", [record(name)], now=3.0, expect=None)
        await backend.close()
        return names

    with running("valkey") as first, running("valkey", "--replicaof", f"127.0.0.1 {first.port}") as second:
        with running_sentinel("valkey", first, "sessions") as port:
            url = f"redis+sentinel://127.0.0.1:{port}/sessions/0?prefix={redis_prefix}"
            backend = open_backend(f"{url}&wait=1", asynchronous=True)
            acknowledged = asyncio.run(fill(backend))
            first.kill()
            store = SessionStore(open_backend(url, asynchronous=False))

            def goes_on() -> bool:
                # Refused until the Sentinel has promoted the replica; the id makes each further attempt safe.
                with suppress(BackendUnavailableError):
                    return store.add_message("s", "user", "after", message_id="after")
                return False

            wait_until(goes_on, lambda: "the store does not find the new primary")
            assert [message.id for message in store.get_messages("s")] == [*acknowledged, "after"]
            with second.client() as client:
                assert client.info("replication")["role"] == "master"
            store.close()


async def _cancelled_at_work(store: AsyncSessionStore) -> list[bool]:
    """Whether each of forty tasks that ask again and again ended when it was cancelled."""

    async def ask() -> None:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            await store.get_session_info("s")

    await store.add_message("s", "user", "x")
    tasks = [asyncio.create_task(ask()) for _ in range(40)]
    await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return [task.cancelled() for task in tasks]


def test_a_cancelled_call_ends_so_and_gives_its_connection_back() -> None:
    async def main() -> None:
        backend = RedisBackend(shared_url(), asynchronous=True, prefix=new_prefix(), max_connections=8)
        async with AsyncSessionStore(backend) as store:
            for _ in range(3):
                assert all(await _cancelled_at_work(store))
            # With eight connections, one that was lost at each cancel would be missed by now.
            await asyncio.gather(*(store.get_session_info("s") for _ in range(8)))
            assert backend._server.line._pool._in_use_connections == set()  # type: ignore[attr-defined]

    asyncio.run(main())
