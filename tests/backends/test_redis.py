"""What is Redis's own: formats and first users, what is opened, limits, event loops, erasing, a Cluster."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.backends import redis_stores
from tests.backends.conftest import Driven
from tests.backends.samples import a_head, all_ids, records, run_threads
from tests.servers.redis import new_prefix, running, running_cluster, shared_url
from turnlog.backends.redis import RedisBackend, open_backend
from turnlog.backends.redis.opening import RedisUrlError
from turnlog.errors import (
    BackendUnavailableError,
    ClosedStoreError,
    CorruptSessionError,
    FormatVersionError,
    StorageError,
    UnsupportedVerbError,
)
from turnlog.heads import Stretch
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore
from turnlog.testing import verify_store

ON_DISK = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def prefix() -> str:
    """A prefix of the test's own."""
    return new_prefix()


@pytest.fixture
def bare() -> Iterator[redis.Redis]:
    """A bare client on the shared server."""
    with redis.Redis.from_url(shared_url()) as client:
        yield client


def make_newer(url: str, place: Path) -> None:
    """Raise the number of the format of a store that the kit has made."""
    with redis.Redis.from_url(url) as client:
        client.hset(f"{{{'-'.join(place.parts[-2:])}}}:format", "format", 99)


# The kit ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [redis_stores.sync_store, pytest.param(redis_stores.async_store, marks=pytest.mark.soak)])
@pytest.mark.parametrize("kind", [pytest.param("valkey", marks=pytest.mark.soak), "redis"])
@pytest.mark.timeout(400)
def test_the_store_keeps_every_promise(kind: str, factory: Callable[..., Any]) -> None:
    url = shared_url(kind)
    report = verify_store(functools.partial(factory, url), make_newer=functools.partial(make_newer, url))
    assert report.passed, str(report)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_cluster_keeps_every_promise() -> None:
    with running_cluster() as servers:
        url = f"redis+cluster://127.0.0.1:{servers[0].port}"
        for factory in (redis_stores.sync_store, redis_stores.async_store):
            report = verify_store(functools.partial(factory, url))
            assert report.passed, str(report)
        for server in servers:
            with server.client() as client:
                assert client.dbsize() > 0


# Formats ----------------------------------------------------------------------------------------------------------------


def test_sixteen_begin_at_once(prefix: str, bare: redis.Redis) -> None:
    stores = [SessionStore(RedisBackend(shared_url(), prefix=prefix, shards=number + 1)) for number in range(16)]
    run_threads(lambda number: stores[number].add_message(f"s{number}", "user", "x"), 16)
    shards = bare.hget(f"{{{prefix}}}:format", "shards")
    assert len({int(str(shards, "ascii")), *(len(store.backend._keys.bases) for store in stores)}) == 1  # type: ignore[attr-defined]
    for store in stores:
        assert len(store.list_sessions()) == 16
        store.close()


def test_a_newer_format_is_refused_and_left_as_it_is(prefix: str, bare: redis.Redis) -> None:
    bare.hset(f"{{{prefix}}}:format", mapping={"format": 7, "shards": 1})
    store = SessionStore(RedisBackend(shared_url(), prefix=prefix))
    with pytest.raises(FormatVersionError) as caught:
        store.add_message("s", "user", "x")
    assert (caught.value.found, caught.value.supported) == (7, 2)  # type: ignore[attr-defined]
    assert list(bare.scan_iter(f"*{prefix}*")) == [f"{{{prefix}}}:format".encode()]
    store.close()


def test_a_store_may_be_told_not_to_come_to_be(prefix: str, bare: redis.Redis) -> None:
    backend = Driven(open_backend(f"{shared_url()}?prefix={prefix}&create=0", asynchronous=False))
    with pytest.raises(StorageError, match="create=True"):
        backend.get_head("s")
    assert not list(bare.scan_iter(f"*{prefix}*"))
    SessionStore(RedisBackend(shared_url(), prefix=prefix)).add_message("s", "user", "x")
    assert backend.get_head("s").length == 1
    backend.close()


def test_a_key_of_others_is_reported(prefix: str, bare: redis.Redis) -> None:
    bare.hset(f"{{{prefix}}}:format", "other", "thing")
    with pytest.raises(StorageError):
        Driven(RedisBackend(shared_url(), prefix=prefix)).get_head("s")
    bare.set(f"{{{prefix}2}}:format", "thing")
    with pytest.raises(StorageError, match="WRONGTYPE"):
        Driven(RedisBackend(shared_url(), prefix=f"{prefix}2")).get_head("s")


def test_a_damaged_record_is_reported(prefix: str, bare: redis.Redis) -> None:
    backend = Driven(RedisBackend(shared_url(), prefix=prefix))
    backend.put_head(a_head(length=2), expect=None, records=records(0, 2))
    bare.hset(f"{{{prefix}.0}}:r:r1", "1", "secret")
    with pytest.raises(CorruptSessionError) as caught:
        all_ids(backend)
    assert "secret" not in str(caught.value)
    bare.hset(f"{{{prefix}.0}}:h:s", "body", "secret")
    with pytest.raises(CorruptSessionError):
        backend.get_head("s")


# Opening ----------------------------------------------------------------------------------------------------------------


def test_options_in_the_url(prefix: str) -> None:
    backend = open_backend(f"{shared_url()}?prefix={prefix}&wait=0&shards=3&client_name=me", asynchronous=False)
    store = SessionStore(backend)
    for number in range(20):
        store.add_message(f"s{number}", "user", "x")
    assert len(store.list_sessions(limit=50)) == 20
    assert [row["session_id"] for row in store.list_sessions(limit=5)] == ["s19", "s18", "s17", "s16", "s15"]
    assert len(backend._keys.bases) == 3  # type: ignore[union-attr]
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "redis://host?wait=x",
        "redis://host?create=yes",
        "redis://host?search=1",
        "redis://host?no_such_option=1",
        "redis://host:port",
        "redis+sentinel://host:x/service",
    ],
)
def test_a_url_that_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(RedisUrlError):
        open_backend(url, asynchronous=False)


def test_what_makes_no_sense_is_refused() -> None:
    for options in (
        {},
        {"url": "redis://h", "client": object()},
        {"url": "redis://h", "prefix": "a{b}"},
        {"url": "redis://h", "shards": 0},
    ):
        with pytest.raises(UnsupportedVerbError):
            RedisBackend(**options)


def test_a_client_of_the_users_stays_open(prefix: str) -> None:
    with redis.Redis.from_url(shared_url(), decode_responses=True, protocol=3) as client:
        store = SessionStore(RedisBackend(client=client, prefix=prefix))
        store.add_message("s \x00 \ud800", "user", "x \x00 \ud800 😀")
        assert store.fork_session("s \x00 \ud800")
        assert store.get_chat_history("s \x00 \ud800")[0]["content"] == "x \x00 \ud800 😀"
        assert len(store.list_sessions()) == 2
        store.close()
        assert client.ping()
    with pytest.raises(ClosedStoreError):
        store.add_message("s", "user", "x")


def test_an_async_client_of_the_users_stays_open(prefix: str) -> None:
    async def use() -> None:
        async with redis.asyncio.Redis.from_url(shared_url(), decode_responses=True) as client:
            store = AsyncSessionStore(RedisBackend(client=client, prefix=prefix))
            await store.add_message("s", "user", "x")
            assert await store.get_chat_history("s") == [{"role": "user", "content": "x"}]
            await store.close()
            assert await client.ping()

    asyncio.run(use())


# Limits and event loops -------------------------------------------------------------------------------------------------


def test_threads_share_few_connections(prefix: str) -> None:
    with running("valkey") as server, server.client() as client:
        store = SessionStore(RedisBackend(server.url, prefix=prefix, max_connections=3))
        run_threads(lambda writer: [store.add_message(f"s{writer}", "user", str(n)) for n in range(20)], 12)  # type: ignore[func-returns-value]
        assert client.info("stats")["total_connections_received"] <= 3 + 2
        store.close()


def test_waiting_for_a_connection_ends(prefix: str) -> None:
    backend = Driven(RedisBackend(shared_url(), prefix=prefix, max_connections=1, timeout=0.2))
    backend.put_head(a_head(), expect=None)
    taken = backend.backend._server.line._pool.get_connection()
    with pytest.raises(BackendUnavailableError, match="max_connections"):
        backend.get_head("s")
    backend.backend._server.line._pool.release(taken)
    assert backend.get_head("s") == a_head()
    backend.close()


def test_a_cancelled_call_leaves_no_answer_for_the_next(prefix: str) -> None:
    async def use() -> None:
        backend = RedisBackend(shared_url(), asynchronous=True, prefix=prefix, max_connections=1)
        await backend.put_head(a_head("a", "ra", fields={"title": "A"}), expect=None)
        await backend.put_head(a_head("b", "rb", fields={"title": "B"}), expect=None)
        cut = 0
        for steps in range(60):
            task = asyncio.ensure_future(backend.get_head("a"))
            for _ in range(steps % 12):
                await asyncio.sleep(0)
            cut += task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            head = await backend.get_head("b")
            assert head is not None
            assert head.fields == {"title": "B"}
        assert cut > 10
        await backend.close()

    asyncio.run(use())


def test_a_cancelled_append_is_whole_or_not_there(prefix: str) -> None:
    async def use() -> None:
        backend = RedisBackend(shared_url(), asynchronous=True, prefix=prefix)
        await backend.put_head(a_head(), expect=None)
        for number in range(60):
            task = asyncio.ensure_future(backend.append("s", records(3 * number, 3 * number + 3), now=3.0, expect=None))
            for _ in range(number % 12):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        head = await backend.get_head("s")
        assert head is not None
        stored = [int(each.id[1:]) for each in await backend.read("s", [Stretch("r1", 0, head.length)])]
        assert len(stored) == head.length == 3 * head.counter
        assert [stored[at] % 3 for at in range(len(stored))] == [0, 1, 2] * head.counter
        await backend.close()

    asyncio.run(use())


def test_threads_that_append_do_not_starve_a_change_of_the_head(prefix: str) -> None:
    store = SessionStore(RedisBackend(shared_url(), prefix=prefix))
    store.add_message("s", "user", "first")
    stop = threading.Event()

    def work(number: int) -> None:
        if number:
            while not stop.is_set():
                store.add_message("s", "user", "more")
        else:
            try:
                for title in range(20):
                    store.clear_session("s")
                    store.set_title("s", f"{title}")
            finally:
                stop.set()

    run_threads(work, 5)
    store.close()


# Erasing, a Cluster -------------------------------------------------------------------------------------------


def test_compact_leaves_nothing_erased_in_the_files(prefix: str) -> None:
    with running("valkey", *ON_DISK) as server, server.client() as client:
        client.config_set("save", "3600 1")
        store = SessionStore(RedisBackend(server.url, prefix=prefix))
        store.add_message("gone", "user", "erase me", message_id="an id")
        store.add_message("kept", "user", "keep me")
        client.save()

        def text() -> bytes:
            return b"".join(path.read_bytes() for path in server.folder.rglob("*") if path.is_file() and path.name != "log")

        assert b"erase me" in text()
        store.delete_session("gone")
        store.sweep(compact=True)
        left = text()
        assert b"keep me" in left
        assert b"erase me" not in left
        assert b"an id" not in left
        store.close()


def test_long_ranges_are_read_and_erased_in_pieces(prefix: str) -> None:
    backend = Driven(RedisBackend(shared_url(), prefix=prefix))
    backend.put_head(a_head(length=12_000), expect=None, records=records(0, 12_000))
    assert all_ids(backend) == [f"m{number}" for number in range(12_000)]
    backend.drop_records("s", "r1", 100, None)
    assert all_ids(backend) == [f"m{number}" for number in range(100)]
    backend.remove_head("s", "r1")
    backend.drop_records("s", "r1", 50, None)
    assert all_ids(backend) == [f"m{number}" for number in range(50)]
    backend.drop_records("s", "r1", 0, None)
    assert all_ids(backend) == []
    backend.close()


def test_a_head_that_moves_between_indexes_leaves_no_entry_behind(prefix: str, bare: redis.Redis) -> None:
    backend = Driven(RedisBackend(shared_url(), prefix=prefix))
    head = a_head(fields={"agent_name": "A", "user_id": "u"})
    backend.put_head(head, expect=None)
    backend.put_head(replace(head, counter=1, fields={"agent_name": "B"}), expect="r1.0")
    assert {key.decode().partition(":")[2] for key in bare.scan_iter(f"*{prefix}*x:*")} == {"x:t", "x:n", "x:a:B"}
    backend.remove_head("s", "r1")
    assert not list(bare.scan_iter(f"*{prefix}*x:*"))
    backend.close()
