"""PostgreSQL where calls wait: locks, pools that are used up, cancelled calls, closing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.backends.conftest import Driven
from tests.backends.samples import a_head, record, records, run_threads
from tests.servers.postgres import new_schema, shared_url
from turnlog.backends.port import Appended
from turnlog.backends.postgres import PostgresBackend
from turnlog.errors import BackendUnavailableError, ClosedStoreError, LockTimeoutError
from turnlog.store.drive import drive


@pytest.fixture
def held() -> Iterator[tuple[str, Callable[[], Any]]]:
    """A schema with a session "s" whose head somebody locks, once that is asked for; the lock's transaction is given."""
    schema = new_schema()
    backend = Driven(PostgresBackend(shared_url(), schema=schema, durability="process"))
    backend.put_head(a_head(), expect=None)
    with psycopg.connect(shared_url()) as other:

        def hold() -> Any:
            other.execute(f"SELECT 1 FROM {schema}.heads FOR UPDATE".encode())
            return other

        yield schema, hold
    backend.close()


class TestWaiting:
    @pytest.mark.parametrize("size", [1, 2])
    def test_nobody_waits_for_a_connection_that_lies_idle(self, size: int) -> None:
        backend = Driven(PostgresBackend(shared_url(), schema=new_schema(), durability="process", pool_size=size, timeout=20.0))
        backend.put_head(a_head(), expect=None)
        begun = time.monotonic()
        run_threads(lambda n: [backend.get_head("s") for _ in range(100)], 8)
        assert time.monotonic() - begun < 8
        backend.close()

    def test_a_store_that_is_closed_while_it_works_keeps_no_connection(self, held: Any) -> None:
        schema, hold = held
        name = schema + "_closing"
        backend = Driven(PostgresBackend(f"{shared_url()}?application_name={name}", schema=schema, durability="process"))
        backend.get_head("s")
        other = hold()
        thread = threading.Thread(target=lambda: backend.append("s", records(0, 1), now=1.0, expect=None))
        thread.start()
        time.sleep(0.3)
        backend.close()
        other.rollback()
        thread.join()
        with pytest.raises(ClosedStoreError):
            backend.get_head("s")
        left = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'".encode()
        deadline = time.monotonic() + 5
        with psycopg.connect(shared_url(), autocommit=True) as watching:
            while watching.execute(left).fetchone() != (0,):
                assert time.monotonic() < deadline, "a connection is left open"

    def test_a_lock_that_is_held_too_long_is_an_error_and_nothing_is_written(self, held: Any) -> None:
        schema, hold = held
        backend = Driven(PostgresBackend(shared_url(), schema=schema, durability="process", timeout=0.5))
        other = hold()
        for verb in (
            lambda: backend.append("s", records(0, 2), now=1.0, expect=None),
            lambda: backend.put_head(a_head(counter=1), expect="r1.0"),
            lambda: backend.put_row("s", "r1", "undo", "k", "1"),
        ):
            with pytest.raises(LockTimeoutError):
                verb()
        other.rollback()
        assert backend.get_head("s") == a_head()
        assert backend.append("s", records(0, 2), now=1.0, expect=None) == Appended("r1.1", 2, False)
        backend.close()

    def test_a_pool_that_is_used_up_is_an_error(self, held: Any) -> None:
        schema, _ = held
        backend = PostgresBackend(shared_url(), schema=schema, durability="process", timeout=0.7, pool_size=1)
        driven = Driven(backend)
        driven.get_head("s")
        pool = backend._server.pool
        only = drive(pool.take())
        with pytest.raises(BackendUnavailableError, match="raise pool_size"):
            driven.append("s", [record("m0")], now=1.0, expect=None)
        drive(pool.give(only))
        assert driven.append("s", [record("m0")], now=1.0, expect=None) == Appended("r1.1", 1, False)
        driven.close()

    def test_a_cancelled_call_leaves_the_pool_whole(self, held: Any) -> None:
        schema, hold = held

        async def work() -> None:
            backend = PostgresBackend(shared_url(), asynchronous=True, schema=schema, durability="process", pool_size=2)
            await backend.get_head("s")
            other = hold()
            calls = [asyncio.create_task(backend.append("s", [record(f"m{n}")], now=1.0, expect=None)) for n in range(5)]
            await asyncio.sleep(0.2)
            for call in calls:
                call.cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [asyncio.CancelledError] * 5
            other.rollback()
            assert await backend.get_head("s") == a_head()
            again = await asyncio.gather(*(backend.append("s", [record(f"m{n}")], now=1.0, expect=None) for n in range(5)))
            assert [done is not None and done.known for done in again] == [False] * 5
            await backend.close()

        asyncio.run(work())
