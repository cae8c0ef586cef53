"""The formats of the Redis store that follow each other, and what a DBA is told: keys, commands, rights."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
import redis

from tests.backends.conftest import Driven
from tests.backends.redis_stores import write_format_1
from tests.backends.samples import a_head, records, run_threads
from tests.servers.redis import new_prefix, running, shared_url
from turnlog.backends.redis import RedisBackend, fork_scripts, schema_text
from turnlog.errors import FormatVersionError, StorageError
from turnlog.heads import Parent, Reference, Stretch
from turnlog.store.drive import drive
from turnlog.store.sync import SessionStore


def contents(store: SessionStore, session_id: str) -> list[Any]:
    """The texts of a session."""
    return [message["content"] for message in store.get_chat_history(session_id)]


def test_format_1_is_brought_to_this_one(redis_again: Callable[..., Driven], redis_prefix: str, redis_client: redis.Redis) -> None:
    write_format_1(redis_client, redis_prefix)
    store = SessionStore(redis_again().backend)
    assert contents(store, "s") == contents(store, "f") == ["q1", "a1"]
    assert redis_client.hget(f"{{{redis_prefix}}}:format", "format") == b"2"
    store.fork_session("s", new_session_id="g")
    store.fork_session("f", 0, new_session_id="h")
    assert (contents(store, "g"), contents(store, "h")) == (["q1", "a1"], ["q1"])
    assert store.get_children("s") == ["f", "g"]
    assert [snapshot.label for snapshot in store.get_snapshots("s")] == ["mark"]
    store.add_message("s", "user", "q2")
    assert store.fork_session("s", new_session_id="i") == "i"
    assert contents(store, "i") == ["q1", "a1", "q2"]


def test_an_old_head_forks_only_with_what_it_has_shed(
    redis_again: Callable[..., Driven], redis_prefix: str, redis_client: redis.Redis
) -> None:
    write_format_1(redis_client, redis_prefix)
    backend = redis_again()
    child = a_head("g", "gr", past=(Stretch("e134", 0, 4),), past_count=4, shed=2, parent=Parent("s", "0f98", "e134", 1))
    claim = Reference("s", "e134", "g", "gr", 4)
    assert [backend.put_fork(child, claim, shed=shed) for shed in (0, 1, 3)] == ["moved"] * 3
    assert backend.get_head("g") is None
    assert [each.child_id for each in backend.references("s", "e134")] == ["f"]
    assert backend.put_fork(child, claim, shed=2) == "stored"
    # A program of the older version that still runs writes heads without the field.
    backend.put_head(a_head(shed=1, length=3), expect=None, records=records(0, 3))
    redis_client.hdel(f"{{{redis_prefix}.0}}:h:s", "shed")
    assert backend.put_fork(child, Reference("s", "r1", "g", "gr", 4), shed=0) == "moved"


def test_what_was_seen_of_an_old_head_counts_only_while_it_is_so(
    redis_again: Callable[..., Driven], redis_prefix: str, redis_client: Any
) -> None:
    write_format_1(redis_client, redis_prefix)
    backend = redis_again()
    backend.get_head("s")
    body = redis_client.hget(f"{{{redis_prefix}.0}}:h:s", "body")
    key, server = f"{{{redis_prefix}.0}}:h:s", backend.backend._server
    for seen, said in ((b"", b"look"), (body + b" ", b"look"), (body, b"stored")):
        values = (f"{{{redis_prefix}.0}}:", "e134", "gr", "[]", 2, seen, "")
        assert drive(server.run(fork_scripts.ADD_REFERENCE, key, *values)) == said


def test_sixteen_bring_it_over_at_once_beside_writers(
    redis_again: Callable[..., Driven], redis_prefix: str, redis_client: redis.Redis
) -> None:
    write_format_1(redis_client, redis_prefix)
    stores = [SessionStore(redis_again().backend) for _ in range(16)]

    def work(number: int) -> None:
        stores[number].add_message("s", "user", f"by {number}")
        stores[number].fork_session("s", 1, new_session_id=f"fork {number}")

    run_threads(work, 16)
    assert redis_client.hgetall(f"{{{redis_prefix}}}:format") == {b"format": b"2", b"shards": b"1"}
    assert sorted(contents(stores[0], "s")) == sorted(["q1", "a1", *(f"by {number}" for number in range(16))])
    assert all(contents(stores[0], f"fork {number}") == ["q1", "a1"] for number in range(16))


def test_one_that_may_create_nothing_changes_no_format(
    redis_again: Callable[..., Driven], redis_prefix: str, redis_client: redis.Redis
) -> None:
    backend = redis_again(create=False)
    with pytest.raises(StorageError, match="turnlog schema"):
        backend.get_head("s")
    write_format_1(redis_client, redis_prefix)
    with pytest.raises(FormatVersionError, match="turnlog schema") as caught:
        backend.append("s", records(0, 1), now=3.0, expect=None)
    assert (caught.value.found, caught.value.supported) == (1, 2)  # type: ignore[attr-defined]
    assert redis_client.hget(f"{{{redis_prefix}}}:format", "format") == b"1"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("shards", [None, 3])
def test_what_the_schema_says_makes_the_store(redis_again: Any, redis_client: redis.Redis, shards: int | None, old: bool) -> None:
    prefix = f'{new_prefix()}"\\ x'
    if old:
        write_format_1(redis_client, prefix)
    url = f"{shared_url()}?{urlencode({'prefix': prefix, **({'shards': shards} if shards else {})})}"
    for line in schema_text(url).splitlines():
        if line and not line.startswith("#"):
            redis_client.execute_command(*shlex.split(line))
    backend = redis_again(prefix=prefix, create=False)
    assert (backend.get_head("s") is not None) == old
    assert len(backend.backend._keys.bases) == (1 if old else shards or 1)


def test_the_schema_connects_to_nothing() -> None:
    text = schema_text("redis+cluster://user:hunter2@no-such-host:1?prefix=mine")
    assert "{mine.0}: to {mine.15}:" in text
    assert 'HSET "{mine}:format" format 2' in text
    assert "hunter2" not in text


def test_the_rights_that_the_schema_names_are_enough(redis_prefix: str) -> None:
    with running("redis") as server, server.client() as admin:
        rights = next(line for line in schema_text(f"{server.url}?prefix={redis_prefix}").splitlines() if "ACL SETUSER" in line)
        extra = "+scan +config|get +bgrewriteaof +bgsave"
        assert extra.replace(" +config", ", for its compact=True also +config") in schema_text(f"{server.url}?prefix={redis_prefix}")
        admin.execute_command("ACL", "SETUSER", "me", "on", ">pw", *rights.split("<name>")[1].split(), *extra.split())
        store = SessionStore(RedisBackend(f"redis://me:pw@127.0.0.1:{server.port}/0", prefix=redis_prefix))
        other = RedisBackend(f"redis://me:pw@127.0.0.1:{server.port}/0", prefix=f"{redis_prefix}2")
        store.add_message("s", "user", "x")
        store.create_snapshot("s", "mark")
        store.fork_session("s", new_session_id="f")
        store.delete_session("s")
        assert len(store.list_sessions()) == 1
        store.sweep(compact=True)
        with pytest.raises(StorageError, match="NOPERM"):
            Driven(other).get_head("s")
        store.close()
