"""From a URL or a client of the user's to a line: which of redis-py's pools to make, with which limits."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from turnlog.backends.redis.lines import AwaitingCluster, AwaitingPool, BlockingCluster, BlockingPool, Line
from turnlog.errors import SessionError

TIMEOUT = 5.0
"""Seconds to connect, and to wait for each reply."""
CROWD = 6
"""Times that as long is waited for a free connection: the others are at work, not away."""
CONNECTIONS = 64
"""Connections to one server at once; who needs one more waits."""
CROWDED = 1024
"""The same for Cluster and Sentinel, whose pools refuse instead of making wait."""
SHARDS = 16
"""Shards of a new store on a Cluster."""


class RedisUrlError(SessionError, ValueError):
    """A URL that names no Redis server."""


def line_to(url: str, *, asynchronous: bool, max_connections: int | None, timeout: float) -> tuple[Line, int]:
    """The line to the server at ``url``, and how many shards a new store there gets."""
    parts = urlsplit(url)
    module = "redis.asyncio" if asynchronous else "redis"
    redis = driver(module)
    retry = driver("redis.asyncio.retry" if asynchronous else "redis.retry").Retry(driver("redis.backoff").NoBackoff(), 0)
    common = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": retry}
    host = _shown(parts.netloc, parts.path)
    if parts.scheme in ("redis", "rediss") and not (parts.path.strip("/") or "0").isdecimal():
        # redis-py would take the database 0.
        raise RedisUrlError(f"the path in the URL of {host} is no number: write the number of a database, such as /0, or nothing")
    try:
        if parts.scheme in ("redis", "rediss", "unix"):
            options = {"max_connections": max_connections or CONNECTIONS, "timeout": timeout * CROWD, **common}
            pool = redis.BlockingConnectionPool.from_url(url, **options)
            # Connects to nothing, but takes no option that there is not.
            pool.connection_class(**pool.connection_kwargs)
            return (AwaitingPool if asynchronous else BlockingPool)(pool, host, own=True), 1
        common["max_connections"] = max_connections or CROWDED
        if parts.scheme == "redis+cluster":
            connect = _cluster_client(driver(f"{module}.cluster"), parts, common)
            return (AwaitingCluster if asynchronous else BlockingCluster)(connect, host, own=True), SHARDS
        if parts.scheme == "redis+sentinel":
            sentinel = driver(f"{module}.sentinel").Sentinel
            pool = _sentinel_pool(sentinel, url, common)
            line = AwaitingPool if asynchronous else BlockingPool
            return line(pool, host, own=True, sentinels=pool.sentinel_manager.sentinels), 1
    except (ValueError, TypeError, AttributeError) as error:
        raise RedisUrlError(f"the URL of {host} has an option or a part that redis-py does not know") from error
    text = "a Redis URL begins with redis://, rediss://, unix://, redis+cluster:// or redis+sentinel://"
    raise RedisUrlError(f"{parts.scheme!r:.40} is none of these: {text}")


def line_of(client: Any) -> tuple[Line, int]:
    """The line through a client that the user made and will close, and how many shards a new store there gets."""
    asynchronous = type(client).__module__.startswith("redis.asyncio")
    if hasattr(client, "nodes_manager"):
        nodes = client.nodes_manager.startup_nodes.values()
        host = ", ".join(f"{node.host}:{node.port}" for node in nodes)
        return (AwaitingCluster if asynchronous else BlockingCluster)(lambda: client, host, own=False), SHARDS
    pool = client.connection_pool
    options = pool.connection_kwargs
    host = f"{options['host']}:{options.get('port', 6379)}" if "host" in options else str(options.get("path", "the server"))
    return (AwaitingPool if asynchronous else BlockingPool)(pool, host, own=False), 1


def driver(module: str) -> Any:
    """A module of redis-py. Raises ImportError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError("the Redis backend needs redis-py: pip install 'turnlog[redis]'") from error


def _cluster_client(module: Any, parts: SplitResult, common: dict[str, Any]) -> Callable[[], Any]:
    """What makes the client of a Cluster that is asked for by any of its servers: ``redis+cluster://user:password@host1:port,host2:port``."""
    _, *others = _places(parts.netloc, 6379)
    login, at, hosts = parts.netloc.rpartition("@")
    # redis-py knows one host in a URL; the others it takes beside it.
    url = parts._replace(scheme="redis", netloc=f"{login}{at}{hosts.split(',')[0]}").geturl()
    return lambda: module.RedisCluster.from_url(url, startup_nodes=[module.ClusterNode(*place) for place in others], **common)


def _sentinel_pool(sentinel: Any, url: str, common: dict[str, Any]) -> Any:
    """The pool of the primary that Sentinel names: ``redis+sentinel://user:password@host1:port,host2:port/service/database``."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    places = _places(parts.netloc, 26379)
    service, _, database = parts.path.strip("/").partition("/")
    name, _, password = login.partition(":")
    options = {**common, "db": int(database or 0)}
    if login:
        options |= {"username": unquote(name) or None, "password": unquote(password) or None}
    found = sentinel(places, socket_timeout=common["socket_timeout"], socket_connect_timeout=common["socket_connect_timeout"])
    return found.master_for(unquote(service), **options).connection_pool


def _places(netloc: str, usual: int) -> list[tuple[str, int]]:
    """The hosts that an address lists with commas between, each with its port or the ``usual`` one. Raises ValueError."""
    places = [urlsplit(f"//{place}") for place in netloc.rpartition("@")[2].split(",")]
    found = [(place.hostname, place.port or usual) for place in places if place.hostname]
    if len(found) < len(places):
        raise ValueError("there is a host without a name")
    return found


def _shown(netloc: str, path: str) -> str:
    """Host and port without the password."""
    return netloc.rpartition("@")[2] or path or "localhost:6379"
