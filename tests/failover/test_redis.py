"""Redis under writers: a primary that Sentinel or the Cluster replaces.

Nobody reads meanwhile: reads wait for no replica, so they may see what is lost with the primary, and was never acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import pytest
import redis

from tests.failover.writers import SESSION, kinds, watch
from tests.servers.cut_line import CutLine
from tests.servers.redis import RedisServer, new_prefix, running, running_cluster, running_sentinel
from tests.servers.waiting import wait_until
from turnlog.backends.redis import open_backend
from turnlog.store.sync import SessionStore

SAFE = ("--appendonly", "yes", "--appendfsync", "always", "--min-replicas-to-write", "1")
SERVICE = "sessions"
LAG = 0.5
"""Seconds during which the replica gets nothing, before the primary goes."""


def opener(url: str, **options: object) -> Callable[[], SessionStore]:
    """Opens stores with one prefix on what the URL names."""
    query = "&".join(f"{name}={value}" for name, value in {"prefix": new_prefix(), **options}.items())
    return lambda: SessionStore(open_backend(f"{url}?{query}", asynchronous=False))


def replace_primary(servers: list[RedisServer], *, told: bool, behind: CutLine | None = None) -> None:
    """Kill the primary of these two; once the other is promoted, start it again as its replica, which it must be ``told`` or finds out.

    ``behind``: the replica's line, which for a while lets nothing through before.
    """
    primary = next(server for server in servers if server.is_primary())
    (replica,) = (server for server in servers if server is not primary)
    with behind.silent() if behind else nullcontext():
        if behind:
            time.sleep(LAG)
        primary.kill()
    wait_until(replica.is_primary, lambda: "the replica is not promoted")
    primary.start(*(["--replicaof", f"127.0.0.1 {replica.port}"] if told else []))
    wait_until(primary.follows, lambda: "the old primary does not follow the new one")


@contextmanager
def watched() -> Iterator[tuple[str, list[RedisServer], CutLine]]:
    """The URL of two servers, of which Sentinel knows the primary, the two, and the line by which the replica follows."""
    with running("valkey", *SAFE) as first, CutLine(first.port) as line:
        with running("valkey", *SAFE, "--replicaof", f"127.0.0.1 {line.port}") as second:
            with running_sentinel("valkey", first, SERVICE) as port:
                yield f"redis+sentinel://127.0.0.1:{port}/{SERVICE}/0", [first, second], line


@pytest.mark.parametrize("wait", [1, pytest.param(0, marks=pytest.mark.soak)])
def test_a_primary_that_sentinel_replaces(wait: int) -> None:
    with watched() as (url, servers, line):
        seen = watch(opener(url, wait=wait), partial(replace_primary, servers, told=True, behind=line), readers=0)
    assert (seen.anomalies == []) if wait else ("lost" in kinds(seen)), seen.anomalies
    assert seen.refused > 0


@pytest.mark.soak
def test_reads_wait_for_no_replica() -> None:
    with watched() as (url, servers, line):
        seen = watch(opener(url, wait=1), partial(replace_primary, servers, told=True, behind=line))
    assert seen.anomalies != []


@pytest.mark.soak
def test_primaries_that_sentinel_replaces_again_and_again() -> None:
    with watched() as (url, servers, _):
        seen = watch(opener(url, wait=1), *[partial(replace_primary, servers, told=True)] * 10, readers=0)
    assert seen.anomalies == []


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.soak)])
def test_the_primary_of_a_cluster_that_has_the_session(rounds: int) -> None:
    with running_cluster("valkey", 3, *SAFE, replicas=3) as servers:
        opens = opener(f"redis+cluster://127.0.0.1:{servers[0].port}", wait=1, read_from_replicas="true")
        with opens() as store:
            store.add_message(SESSION, "user", "first")
            keys = store.backend._keys  # type: ignore[attr-defined]
            key = f"{keys.bases[keys.shard(SESSION)]}h:{SESSION}"
            store.delete_session(SESSION)
        with redis.RedisCluster(host="127.0.0.1", port=servers[0].port) as client:
            slot = client.keyslot(key)
        number = slot * 3 // 16_384
        seen = watch(opens, *[partial(replace_primary, [servers[number], servers[3 + number]], told=False)] * rounds, readers=0)
    assert seen.anomalies == []
    assert seen.refused > 0
