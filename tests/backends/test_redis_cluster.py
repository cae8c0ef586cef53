"""A store on a Cluster, where parent and child lie apart: listing, forks in steps, sessions that expire, indexes mended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis

from tests.backends.conftest import Driven
from tests.backends.samples import a_head, all_ids, record, records, run_threads
from tests.servers.redis import RedisServer, running_cluster
from tests.servers.waiting import wait_until
from turnlog.backends.port import Query
from turnlog.backends.redis import RedisBackend, open_backend
from turnlog.heads import Head, Parent, Reference, Stretch
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore


@pytest.fixture(scope="module")
def servers() -> Iterator[list[RedisServer]]:
    """A Cluster of three."""
    with running_cluster() as made:
        yield made


@pytest.fixture
def backend(servers: list[RedisServer], redis_prefix: str) -> Iterator[Driven]:
    """A store of five shards with one session of five messages, two of them shed."""
    url = f"redis+cluster://127.0.0.1:{servers[0].port}"
    made = Driven(RedisBackend(url, prefix=redis_prefix, shards=5, grace=0.0))
    made.put_head(a_head(length=5, shed=2), expect=None, records=records(0, 5))
    yield made
    made.close()


@pytest.fixture
def bare(servers: list[RedisServer]) -> Iterator[redis.RedisCluster]:
    """A bare client."""
    with redis.RedisCluster(host="127.0.0.1", port=servers[0].port) as client:
        yield client


def apart(backend: Driven, *, same: bool = False) -> str:
    """The id of a session in another shard than "s", or in the same."""
    keys = backend.backend._keys
    return next(f"c{number}" for number in range(99) if (keys.shard(f"c{number}") == keys.shard("s")) == same)


def a_fork(session_id: str, **values: Any) -> tuple[Head, Reference]:
    """A fork of the first three messages of "s", and its claim."""
    child = a_head(session_id, "cr", past=(Stretch("r1", 0, 3),), past_count=3, parent=Parent("s", "b", "r1", 2), **values)
    return child, Reference("s", "r1", session_id, "cr", 3)


def test_a_cluster_lists_reads_and_forks_over_its_shards(servers: list[RedisServer], redis_prefix: str) -> None:
    first = SessionStore(open_backend(f"redis+cluster://127.0.0.1:{servers[0].port}?prefix={redis_prefix}&shards=5", asynchronous=False))
    second = SessionStore(RedisBackend(client=redis.RedisCluster(host="127.0.0.1", port=servers[1].port), prefix=redis_prefix))
    for number in range(40):
        first.add_message(f"s{number:02}", "user", f"of {number}")
    assert [row["session_id"] for row in second.list_sessions(limit=7)] == [f"s{number}" for number in range(39, 32, -1)]
    names = [head.session_id for head in Driven(second.backend).list_heads(Query(prefix="s1"), cursor=None, limit=50).heads]
    assert names == [f"s{number}" for number in range(19, 9, -1)]
    children = [second.fork_session(f"s{number:02}", new_session_id=f"f{number}") for number in range(10)]
    grandchildren = [first.fork_session(child, new_session_id=f"g{child}") for child in children]
    for number in range(10):
        first.delete_session(f"s{number:02}")
    third = SessionStore(open_backend(f"redis+cluster://127.0.0.1:{servers[2].port}?prefix={redis_prefix}", asynchronous=False))
    for number, name in enumerate(grandchildren):
        assert third.get_chat_history(name) == [{"role": "user", "content": f"of {number}"}]
    third.sweep(compact=False)
    for store in (first, second, third):
        store.close()


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("hosts", ["127.0.0.1:1,127.0.0.1:{}", "127.0.0.1:{},127.0.0.1:1", "127.0.0.1:1,127.0.0.1:{},127.0.0.1:2"])
def test_one_host_of_many_is_enough_to_begin(servers: list[RedisServer], redis_prefix: str, hosts: str, asynchronous: bool) -> None:
    for server in servers:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "me", "on", ">p@w,", "~*", "+@all")
    url = f"redis+cluster://me:p%40w%2C@{hosts.format(servers[1].port)}?prefix={redis_prefix}"

    async def begin() -> list[dict[str, Any]]:
        async with AsyncSessionStore(open_backend(url, asynchronous=True)) as store:
            await store.add_message("s", "user", "x")
            return await store.get_chat_history("s")

    if asynchronous:
        assert asyncio.run(begin()) == [{"role": "user", "content": "x"}]
        return
    with SessionStore(open_backend(url, asynchronous=False)) as store:
        store.add_message("s", "user", "x")
        assert store.get_chat_history("s") == [{"role": "user", "content": "x"}]


@pytest.mark.parametrize("same", [False, True])
def test_a_fork_is_stored_with_its_claim(backend: Driven, same: bool) -> None:
    child, claim = a_fork(apart(backend, same=same), ttl=60.0)
    assert backend.put_fork(child, claim, shed=2) == "stored"
    assert backend.get_head(child.session_id) == child
    assert backend.references("s", "r1") == [claim]
    assert backend.referenced_runs() == []
    assert [each.id for each in backend.read(child.session_id, child.past)] == ["m0", "m1", "m2"]


@pytest.mark.parametrize("same", [False, True])
def test_a_parent_that_moved_is_not_forked(backend: Driven, same: bool) -> None:
    child, claim = a_fork(apart(backend, same=same))
    for shed in (0, 1, 3):
        assert backend.put_fork(child, claim, shed=shed) == "moved"
    assert backend.put_fork(child, claim, shed=2, expect=a_head(counter=1, length=5)) == "moved"
    head = backend.get_head("s")
    backend.put_head(replace(head, run="r2", counter=1), expect=head.revision)
    assert backend.put_fork(child, claim, shed=2) == "moved"
    backend.put_head(replace(head, counter=2), expect="r2.1")
    backend.mark_run("s", "r1", None, closed=True)
    assert backend.put_fork(child, claim, shed=2) == "moved"
    backend.remove_head("s", "r1")
    assert backend.put_fork(child, claim, shed=2) == "moved"
    assert backend.get_head(child.session_id) is None
    assert backend.referenced_runs() == []


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("closed", [False, True])
def test_a_fork_whose_place_is_taken_can_be_released(backend: Driven, same: bool, closed: bool) -> None:
    child, claim = a_fork(apart(backend, same=same))
    if closed:
        backend.mark_run(child.session_id, "cr", None, closed=True)
    else:
        backend.put_head(a_head(child.session_id, "other"), expect=None)
    assert backend.put_fork(child, claim, shed=2) == "taken"
    backend.drop_reference("s", "r1", "cr")
    assert backend.referenced_runs() == []


@pytest.mark.parametrize("same", [False, True])
def test_a_head_of_format_1_is_forked(backend: Driven, redis_prefix: str, bare: Any, same: bool) -> None:
    base = backend.backend._keys.bases[backend.backend._keys.shard("s")]
    bare.hdel(f"{base}h:s", "shed")
    child, claim = a_fork(apart(backend, same=same))
    assert backend.put_fork(child, claim, shed=0) == "moved"
    assert backend.put_fork(child, claim, shed=2) == "stored"


def test_one_of_many_forks_to_one_place_is_stored(backend: Driven) -> None:
    name = apart(backend)
    outcomes: list[str] = []

    def fork(number: int) -> None:
        child, claim = a_fork(name)
        run = f"cr{number}"
        outcomes.append(backend.put_fork(replace(child, run=run), claim._replace(child_run=run), shed=2))

    run_threads(fork, 8)
    assert sorted(outcomes) == ["stored"] + ["taken"] * 7


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("ttl", ["from the beginning", "later", "of a fork that was transferred"])
def test_what_a_fork_that_expired_leaves_is_swept_up(backend: Driven, bare: Any, same: bool, ttl: str) -> None:
    store = SessionStore(backend.backend)
    name = apart(backend, same=same)
    child, claim = a_fork(name, ttl=0.1, fields={"agent_name": "A"}, updated_at=2e9)
    if ttl == "of a fork that was transferred":
        assert backend.add_reference(claim) is True
        assert backend.put_head(child, expect=None) is True
    else:
        late = ttl == "later"
        assert backend.put_fork(replace(child, ttl=None) if late else child, claim, shed=2) == "stored"
        assert not late or backend.put_head(replace(child, counter=1), expect="cr.0")
    wait_until(lambda: backend.get_head(name) is None, lambda: "the fork does not expire")
    assert backend.references("s", "r1") == [claim]
    store.delete_session("s")
    assert all_ids(backend) == ["m0", "m1", "m2"]
    store.sweep()
    assert all_ids(backend) == []
    assert backend.referenced_runs() == backend.marked_runs() == []
    begins = tuple(base.encode() for base in backend.backend._keys.bases)
    left = {key.partition(b"}:")[2][:2] for key in bare.scan_iter(count=10_000) if key.startswith(begins)}
    assert left <= {b"n", b"z:"}


def test_a_claimed_session_stays_and_goes_with_its_last_claim(backend: Driven) -> None:
    backend.put_head(a_head("s", "r1", length=5, shed=2, counter=1, ttl=0.2), expect="r1.0")
    child, claim = a_fork(apart(backend))
    assert backend.put_fork(child, claim, shed=2) == "stored"
    backend.put_head(a_head("t", "rt", ttl=0.2), expect=None)
    wait_until(lambda: backend.get_head("t") is None, lambda: "the other session does not expire")
    assert len(all_ids(backend)) == 5
    backend.append("s", [record("more")], now=2.6, expect=None)
    backend.drop_reference("s", "r1", "cr")
    wait_until(lambda: backend.get_head("s") is None, lambda: "the session does not expire")
    assert all_ids(backend) == []


def test_the_sweep_brings_back_what_the_indexes_lost(backend: Driven, bare: Any) -> None:
    for number in range(60):
        values = {"fields": {"agent_name": "A"}, "ttl": 100.0, "updated_at": 2e9 + number}
        backend.put_head(a_head(f"s{number:02}", f"r{number}", **values), expect=None)
    queries = [Query(), Query(prefix="s1"), Query(agent_name="A"), Query(expired_at=3e9)]

    def listed() -> list[list[str]]:
        return [[head.session_id for head in backend.list_heads(query, cursor=None, limit=99).heads] for query in queries]

    before = listed()
    assert [len(each) for each in before] == [61, 10, 60, 60]
    begins = tuple(f"{base}x:".encode() for base in backend.backend._keys.bases)
    for key in [key for key in bare.scan_iter(count=10_000) if key.startswith(begins)]:
        bare.delete(key)
    assert listed() == [[], [], [], []]
    SessionStore(backend.backend).sweep()
    assert listed() == before
