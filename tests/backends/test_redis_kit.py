"""Redis, Valkey and a Cluster keep every promise of the kit, sync and async, at the quick level and at the full one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.backends import redis_stores
from tests.servers.redis import running_cluster, shared_url
from turnlog.testing import verify_store

ALLOWED = {
    "the store is sync",
    "the store keeps no files in its place",
    "the store makes no directories: it opens only in one that is there",
    "the store syncs nothing by os.fsync: it says that it survives kill -9 only, or its engine syncs for it",
}
"""Why a case may not be run on a store that keeps nothing in files."""

HANGS = 3_600.0
"""Seconds after which a case at the full level is taken to hang: a hundred walks need minutes of a processor that others use too."""

FACTORIES = [pytest.param(redis_stores.sync_store, id="sync"), pytest.param(redis_stores.async_store, id="async")]


def make_newer(client: redis.Redis | redis.RedisCluster, place: Path) -> None:
    """Raise the number of the format of a store that the kit has made."""
    client.hset(f"{{{redis_stores.prefix_of(place)}}}:format", "format", 99)


def verify(factory: Callable[..., Any], url: str, client: redis.Redis | redis.RedisCluster, level: Any) -> None:
    """Hold stores at the URL to every promise; ``client`` is a bare one on the same server."""
    newer = functools.partial(make_newer, client)
    report = verify_store(functools.partial(factory, url), level=level, make_newer=newer, time_limit=HANGS if level == "full" else None)
    report.raise_if_failed()
    assert {outcome.reason for outcome in report.not_run} <= ALLOWED


@pytest.mark.timeout(400)
def test_redis_keeps_every_promise() -> None:
    with redis.Redis.from_url(shared_url("redis")) as client:
        verify(redis_stores.sync_store, shared_url("redis"), client, "quick")


@pytest.mark.soak
@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_a_server_keeps_every_promise_at_the_full_level(kind: str, factory: Callable[..., Any]) -> None:
    with redis.Redis.from_url(shared_url(kind)) as client:
        verify(factory, shared_url(kind), client, "full")


@pytest.mark.soak
@pytest.mark.parametrize("factory", FACTORIES)
def test_a_cluster_keeps_every_promise_at_the_full_level(factory: Callable[..., Any]) -> None:
    with running_cluster() as servers:
        with redis.RedisCluster(host="127.0.0.1", port=servers[0].port) as client:
            verify(factory, f"redis+cluster://127.0.0.1:{servers[0].port}", client, "full")
        for server in servers:
            with server.client() as bare:
                assert bare.dbsize() > 0
