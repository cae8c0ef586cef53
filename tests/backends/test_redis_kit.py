"""Redis, Valkey and a Cluster keep every promise of the kit, sync and async, at the quick level and at the full one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.backends import redis_stores
from tests.backends.promises import check_promises
from tests.servers.redis import running_cluster, shared_url
from turnlog.testing.registry import Level, all_cases

FACTORIES = [pytest.param(redis_stores.sync_store, id="sync"), pytest.param(redis_stores.async_store, id="async")]


def make_newer(client: redis.Redis | redis.RedisCluster, place: Path) -> None:
    """Raise the number of the format of a store that the kit has made."""
    client.hset(f"{{{redis_stores.prefix_of(place)}}}:format", "format", 99)


def verify(factory: Callable[..., Any], url: str, client: redis.Redis | redis.RedisCluster, level: Level, only: Iterable[str] = ()) -> None:
    """Hold stores at the URL to every promise, or ``only`` to some; ``client`` is a bare one on the same server."""
    check_promises(functools.partial(factory, url), level, only=only, make_newer=functools.partial(make_newer, client))


@pytest.mark.timeout(400)
def test_redis_keeps_every_promise() -> None:
    with redis.Redis.from_url(shared_url("redis")) as client:
        verify(redis_stores.sync_store, shared_url("redis"), client, "quick")


@pytest.mark.timeout(400)
def test_redis_keeps_what_only_an_async_store_promises() -> None:
    with redis.Redis.from_url(shared_url("redis")) as client:
        only = [each.number for each in all_cases() if "async" in each.needs]
        verify(redis_stores.async_store, shared_url("redis"), client, "quick", only)


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
