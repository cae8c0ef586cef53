"""What is Redis's own: formats and first users, what is opened, limits, event loops, erasing, a Cluster."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import replace

import pytest
import redis
import redis.asyncio

from tests.backends.conftest import Driven
from tests.backends.samples import a_head, all_ids, records, run_threads
from tests.servers.redis import running, shared_url
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

ON_DISK = ("--appendonly", "yes", "--appendfsync", "always")


# Formats ----------------------------------------------------------------------------------------------------------------


def test_sixteen_begin_at_once(redis_prefix: str, redis_client: redis.Redis) -> None:
    stores = [SessionStore(RedisBackend(shared_url(), prefix=redis_prefix, shards=number + 1)) for number in range(16)]
    run_threads(lambda number: stores[number].add_message(f"s{number}", "user", "x"), 16)
    shards = redis_client.hget(f"{{{redis_prefix}}}:format", "shards")
    assert len({int(str(shards, "ascii")), *(len(store.backend._keys.bases) for store in stores)}) == 1  # type: ignore[attr-defined]
    for store in stores:
        assert len(store.list_sessions()) == 16
        store.close()


def test_a_newer_format_is_refused_and_left_as_it_is(redis_prefix: str, redis_client: redis.Redis) -> None:
    redis_client.hset(f"{{{redis_prefix}}}:format", mapping={"format": 7, "shards": 1})
    store = SessionStore(RedisBackend(shared_url(), prefix=redis_prefix))
    with pytest.raises(FormatVersionError) as caught:
        store.add_message("s", "user", "x")
    assert (caught.value.found, caught.value.supported) == (7, 2)  # type: ignore[attr-defined]
    assert list(redis_client.scan_iter(f"*{redis_prefix}*")) == [f"{{{redis_prefix}}}:format".encode()]
    store.close()


def test_a_store_may_be_told_not_to_come_to_be(redis_prefix: str, redis_client: redis.Redis) -> None:
    backend = Driven(open_backend(f"{shared_url()}?prefix={redis_prefix}&create=0", asynchronous=False))
    with pytest.raises(StorageError, match="create=True"):
        backend.get_head("s")
    assert not list(redis_client.scan_iter(f"*{redis_prefix}*"))
    SessionStore(RedisBackend(shared_url(), prefix=redis_prefix)).add_message("s", "user", "x")
    assert backend.get_head("s").length == 1
    backend.close()


def test_a_key_of_others_is_reported(redis_prefix: str, redis_client: redis.Redis) -> None:
    redis_client.hset(f"{{{redis_prefix}}}:format", "other", "thing")
    with pytest.raises(StorageError):
        Driven(RedisBackend(shared_url(), prefix=redis_prefix)).get_head("s")
    redis_client.set(f"{{{redis_prefix}2}}:format", "thing")
    with pytest.raises(StorageError, match="WRONGTYPE"):
        Driven(RedisBackend(shared_url(), prefix=f"{redis_prefix}2")).get_head("s")


def test_a_damaged_record_is_reported(redis_prefix: str, redis_client: redis.Redis) -> None:
    backend = Driven(RedisBackend(shared_url(), prefix=redis_prefix))
    backend.put_head(a_head(length=2), expect=None, records=records(0, 2))
    redis_client.hset(f"{{{redis_prefix}.0}}:r:r1", "1", "secret")
    with pytest.raises(CorruptSessionError) as caught:
        all_ids(backend)
    assert "secret" not in str(caught.value)
    redis_client.hset(f"{{{redis_prefix}.0}}:h:s", "body", "secret")
    with pytest.raises(CorruptSessionError):
        backend.get_head("s")


# Opening ----------------------------------------------------------------------------------------------------------------


def test_options_in_the_url(redis_prefix: str) -> None:
    backend = open_backend(f"{shared_url()}?prefix={redis_prefix}&wait=0&shards=3&client_name=me", asynchronous=False)
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
        "redis://host?no_such_option=1",
        "redis://host:port",
        "redis://host/chats",
        "redis+sentinel://host:x/service",
        "redis+sentinel://host:1,/service",
        "redis+cluster://",
        "redis+cluster://host:x",
        "redis+cluster://host:1,other:x",
        "redis+cluster://host:1,,other:2",
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


def test_a_client_of_the_users_stays_open(redis_prefix: str) -> None:
    with redis.Redis.from_url(shared_url(), decode_responses=True, protocol=3) as client:
        store = SessionStore(RedisBackend(client=client, prefix=redis_prefix))
        store.add_message("s \x00 \ud800", "user", "x \x00 \ud800 😀")
        assert store.fork_session("s \x00 \ud800")
        assert store.get_chat_history("s \x00 \ud800")[0]["content"] == "x \x00 \ud800 😀"
        assert len(store.list_sessions()) == 2
        store.close()
        assert client.ping()
    with pytest.raises(ClosedStoreError):
        store.add_message("s", "user", "x")


def test_an_async_client_of_the_users_stays_open(redis_prefix: str) -> None:
    async def use() -> None:
        async with redis.asyncio.Redis.from_url(shared_url(), decode_responses=True) as client:
            store = AsyncSessionStore(RedisBackend(client=client, prefix=redis_prefix))
            await store.add_message("s", "user", "x")
            assert await store.get_chat_history("s") == [{"role": "user", "content": "x"}]
            await store.close()
            assert await client.ping()

    asyncio.run(use())


# Limits and event loops -------------------------------------------------------------------------------------------------


def test_threads_share_few_connections(redis_prefix: str) -> None:
    with running("valkey") as server, server.client() as client:
        store = SessionStore(RedisBackend(server.url, prefix=redis_prefix, max_connections=3))
        run_threads(lambda writer: [store.add_message(f"s{writer}", "user", str(n)) for n in range(20)], 12)  # type: ignore[func-returns-value]
        assert client.info("stats")["total_connections_received"] <= 3 + 2
        store.close()


def test_waiting_for_a_connection_ends(redis_prefix: str) -> None:
    backend = Driven(RedisBackend(shared_url(), prefix=redis_prefix, max_connections=1, timeout=0.2))
    backend.put_head(a_head(), expect=None)
    taken = backend.backend._server.line._pool.get_connection()
    with pytest.raises(BackendUnavailableError, match="max_connections"):
        backend.get_head("s")
    backend.backend._server.line._pool.release(taken)
    assert backend.get_head("s") == a_head()
    backend.close()


def test_a_cancelled_call_leaves_no_answer_for_the_next(redis_prefix: str) -> None:
    async def use() -> None:
        backend = RedisBackend(shared_url(), asynchronous=True, prefix=redis_prefix, max_connections=1)
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


def test_a_cancelled_append_is_whole_or_not_there(redis_prefix: str) -> None:
    async def use() -> None:
        backend = RedisBackend(shared_url(), asynchronous=True, prefix=redis_prefix)
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


def test_threads_that_append_do_not_starve_a_change_of_the_head(redis_prefix: str) -> None:
    store = SessionStore(RedisBackend(shared_url(), prefix=redis_prefix))
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


def test_compact_leaves_nothing_erased_in_the_files(redis_prefix: str) -> None:
    with running("valkey", *ON_DISK) as server, server.client() as client:
        client.config_set("save", "3600 1")
        store = SessionStore(RedisBackend(server.url, prefix=redis_prefix))
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


def test_long_ranges_are_read_and_erased_in_pieces(redis_prefix: str) -> None:
    backend = Driven(RedisBackend(shared_url(), prefix=redis_prefix))
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


def test_a_head_that_moves_between_indexes_leaves_no_entry_behind(redis_prefix: str, redis_client: redis.Redis) -> None:
    backend = Driven(RedisBackend(shared_url(), prefix=redis_prefix))
    head = a_head(fields={"agent_name": "A", "user_id": "u"})
    backend.put_head(head, expect=None)
    backend.put_head(replace(head, counter=1, fields={"agent_name": "B"}), expect="r1.0")
    assert {key.decode().partition(":")[2] for key in redis_client.scan_iter(f"*{redis_prefix}*x:*")} == {"x:t", "x:n", "x:a:B"}
    backend.remove_head("s", "r1")
    assert not list(redis_client.scan_iter(f"*{redis_prefix}*x:*"))
    backend.close()
