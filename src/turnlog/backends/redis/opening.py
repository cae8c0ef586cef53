"""From a URL or a client of the user's to a line: which of redis-py's pools to make, with which limits."""

from __future__ import annotations

import importlib
from typing import Any
from urllib.parse import unquote, urlsplit

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
    try:
        if parts.scheme in ("redis", "rediss", "unix"):
            options = {"max_connections": max_connections or CONNECTIONS, "timeout": timeout * CROWD, **common}
            pool = redis.BlockingConnectionPool.from_url(url, **options)
            # Connects to nothing, but takes no option that there is not.
            pool.connection_class(**pool.connection_kwargs)
            return (AwaitingPool if asynchronous else BlockingPool)(pool, host, own=True), 1
        common["max_connections"] = max_connections or CROWDED
        if parts.scheme == "redis+cluster":
            plain = "redis" + url.removeprefix("redis+cluster")
            cluster = driver(f"{module}.cluster").RedisCluster
            connect = lambda: cluster.from_url(plain, **common)  # noqa: E731
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


def _sentinel_pool(sentinel: Any, url: str, common: dict[str, Any]) -> Any:
    """The pool of the primary that Sentinel names: ``redis+sentinel://user:password@host1:port,host2:port/service/database``."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    places = [(host, int(port or 26379)) for host, _, port in (place.partition(":") for place in hosts.split(","))]
    service, _, database = parts.path.strip("/").partition("/")
    name, _, password = login.partition(":")
    options = {**common, "db": int(database or 0)}
    if login:
        options |= {"username": unquote(name) or None, "password": unquote(password) or None}
    found = sentinel(places, socket_timeout=common["socket_timeout"], socket_connect_timeout=common["socket_connect_timeout"])
    return found.master_for(unquote(service), **options).connection_pool


def _shown(netloc: str, path: str) -> str:
    """Host and port without the password."""
    return netloc.rpartition("@")[2] or path or "localhost:6379"
