"""PostgreSQL under writers: crashes, a synchronous standby that is promoted, and answers that never come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest

from tests.backends.samples import a_head, record
from tests.failover.writers import REFUSED, Seen, kinds, watch
from tests.servers.cut_line import CutLine
from tests.servers.postgres import PostgresServer, new_schema, replica, server
from tests.servers.waiting import wait_until
from turnlog.backends.port import Appended
from turnlog.backends.postgres import PostgresBackend
from turnlog.heads import Stretch
from turnlog.store.sync import SessionStore

SOON = 2.0
"""Seconds that the stores of these tests wait."""
SLOW = 6.0
"""Seconds that a store waits which finds its server again."""
LAG = 0.5
"""Seconds during which the standby gets nothing, before the primary goes."""


def opener(*servers: PostgresServer) -> Callable[[], SessionStore]:
    """Opens stores with one schema on whichever of the servers takes writes."""
    schema = new_schema()
    first = f"127.0.0.1:{servers[0].port}"
    url = servers[0].url.replace(first, ",".join(f"127.0.0.1:{each.port}" for each in servers)) + "?target_session_attrs=read-write"
    return lambda: SessionStore(PostgresBackend(url, schema=schema, timeout=SOON))


def restart(private: PostgresServer) -> None:
    """Kill it and start it on what the disk has."""
    private.crash()
    private.start()


def fail_over(primary: PostgresServer, standby: PostgresServer, line: CutLine) -> None:
    """Kill the primary with what it did not get through to the standby for a while, and promote that."""
    with line.silent():
        time.sleep(LAG)
        primary.crash()
    standby.promote()


def watch_failover(*, synchronous: bool) -> Seen:
    """What is seen when the standby takes over."""
    with server() as primary, CutLine(primary.port) as line, replica(primary, synchronous=synchronous, through=line.port) as standby:
        return watch(opener(primary, standby), partial(fail_over, primary, standby, line))


@pytest.fixture(scope="module")
def private() -> Iterator[PostgresServer]:
    """A server that tests may kill; it runs again when they end."""
    with server() as made:
        yield made


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_a_server_that_crashes_and_comes_back(private: PostgresServer, rounds: int) -> None:
    seen = watch(opener(private), *[partial(restart, private)] * rounds)
    assert seen.anomalies == []


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.soak)])
def test_a_synchronous_standby_that_is_promoted(rounds: int) -> None:
    for _ in range(rounds):
        assert watch_failover(synchronous=True).anomalies == []


@pytest.mark.soak
def test_commits_that_wait_for_no_standby_are_lost() -> None:
    assert "lost" in kinds(watch_failover(synchronous=False))


def test_what_no_standby_has_is_not_acknowledged_when_it_is_sent_again(private: PostgresServer) -> None:
    async def work() -> None:
        backend = PostgresBackend(private.url, asynchronous=True, schema=new_schema(), timeout=1.0)
        await backend.put_head(a_head(), expect=None)
        # One that never comes.
        wait_for_standby(private, "standby")

        async def append() -> Appended | None:
            return await backend.append("s", [record("m0")], now=1.0, expect=None)

        first = asyncio.create_task(append())
        await asyncio.to_thread(wait_until, lambda: waiting(private), lambda: "nobody waits for the standby")
        # So the server stops waiting for the standby, and everybody sees the message.
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert [stored.id for stored in await backend.read("s", [Stretch("r1", 0, 9)])] == ["m0"]
        with pytest.raises(REFUSED):
            await append()
        restart(private)
        with pytest.raises(REFUSED):
            await append()
        wait_for_standby(private, "")
        while True:
            try:
                assert await append() == Appended("r1.1", 1, True)
                break
            except REFUSED:
                # The server has not heard of it yet.
                await asyncio.sleep(0.05)
        await backend.close()

    asyncio.run(work())


def test_a_removal_that_no_standby_has_is_not_acknowledged_when_its_answer_was_lost(private: PostgresServer) -> None:
    async def work() -> None:
        backend = PostgresBackend(private.url, asynchronous=True, schema=new_schema(), timeout=SLOW)
        await backend.put_head(a_head(), expect=None)
        wait_for_standby(private, "standby")
        removing = asyncio.create_task(backend.remove_head("s", "r1"))
        await asyncio.to_thread(wait_until, lambda: waiting(private), lambda: "nobody waits for the standby")
        # What it did is there afterwards, for everybody to see.
        await asyncio.to_thread(restart, private)
        with pytest.raises(REFUSED):
            await removing
        assert waiting(private)
        assert await backend.get_head("s") is None
        wait_for_standby(private, "")
        await backend.close()

    asyncio.run(work())


def waiting(private: PostgresServer) -> bool:
    """Whether anybody's commit waits for the standby."""
    return private.ask("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != []


def wait_for_standby(private: PostgresServer, name: str) -> None:
    """Every commit waits for the standby of that name once this returns; with no name, for none soon after."""
    private.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    private.ask("SELECT pg_reload_conf()")
    while name and not commit_waits(private):
        continue


def commit_waits(private: PostgresServer) -> bool:
    """Whether a commit waits for a standby. The server reads its settings when it comes to it, and says nowhere whether it has."""
    with psycopg.connect(private.url, autocommit=True) as connection, ThreadPoolExecutor(1) as thread:
        commit = thread.submit(connection.execute, "SELECT pg_logical_emit_message(true, 'turnlog', '')")
        wait_until(lambda: commit.done() or waiting(private), lambda: "the commit neither ends nor waits")
        waits = not commit.done()
        if waits:
            private.ask(f"SELECT pg_cancel_backend({connection.info.backend_pid})")
        commit.result()
        return waits
