"""From a URL or a client of the user's to a line: which of redis-py's pools to make, with which limits, with TLS or without.

On Cluster and Sentinel too, login, database and options of a URL mean what redis-py takes them for with one server, and are for the servers
that hold the data. ``rediss`` in the scheme, or ``ssl=true``, asks for TLS; redis-py's options ``ssl_…`` say which certificates. Sentinels
have a login of their own, ``sentinel_username`` and ``sentinel_password``; with TLS they are spoken to in TLS as well, under the same
options. An option that would do nothing is refused, but for ``read_from_replicas``: primaries alone are read.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from inspect import signature
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from turnlog.backends.addresses import fault
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
SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel", "unix")

_OF_CLUSTERS = ("require_full_coverage", "dynamic_startup_nodes", "read_from_replicas")
"""Options of the client of a Cluster itself, which redis-py would leave as text."""
_OUR_PART = {"host", "port", "connection_class", "is_master", "retry"}
"""Arguments that redis-py would take from a URL of several hosts, to do nothing or harm."""
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class RedisUrlError(SessionError, ValueError):
    """A URL that names no Redis server."""


def line_to(url: str, *, asynchronous: bool, max_connections: int | None, timeout: float) -> tuple[Line, int]:
    """The line to the server at ``url``, and how many shards a new store there gets. Raises RedisUrlError."""
    parts, tls = _read(url)
    kind = parts.scheme.partition("+")[2]
    host = parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2] or "localhost:6379"
    module = "redis.asyncio" if asynchronous else "redis"
    retry = driver("redis.asyncio.retry" if asynchronous else "redis.retry").Retry(driver("redis.backoff").NoBackoff(), 0)
    options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": retry}
    pooled, clustered = (AwaitingPool, AwaitingCluster) if asynchronous else (BlockingPool, BlockingCluster)
    try:
        if kind:
            options["max_connections"] = max_connections or CROWDED
        else:
            options |= {"max_connections": max_connections or CONNECTIONS, "timeout": timeout * CROWD}
        options |= _options(module, parts, tls)
        if kind == "cluster":
            return clustered(_cluster_client(module, parts, options), host, own=True), SHARDS
        pool = _sentinel_pool(module, parts, options) if kind else driver(module).BlockingConnectionPool(**options)
        # Connects to nothing, but takes no option that there is not.
        pool.connection_class(**pool.connection_kwargs)
        return pooled(pool, host, own=True, sentinels=pool.sentinel_manager.sentinels if kind else ()), 1
    except (ValueError, TypeError, AttributeError, driver("redis.exceptions").RedisError) as error:
        if isinstance(error, RedisUrlError):
            raise
        raise RedisUrlError(f"the URL of {host} has an option or a part that redis-py does not know") from error


def line_of(client: Any) -> tuple[Line, int]:
    """The line through a client that the user made and will close, and how many shards a new store there gets."""
    asynchronous = type(client).__module__.startswith("redis.asyncio")
    if hasattr(client, "nodes_manager"):
        nodes = client.nodes_manager.startup_nodes.values()
        host = ", ".join(f"{node.host}:{node.port}" for node in nodes)
        return (AwaitingCluster if asynchronous else BlockingCluster)(lambda: client, host, own=False), SHARDS
    pool = client.connection_pool
    sentinels = pool.sentinel_manager.sentinels if hasattr(pool, "sentinel_manager") else []
    host = ", ".join(_address(each.connection_pool) for each in sentinels) or _address(pool)
    return (AwaitingPool if asynchronous else BlockingPool)(pool, host, own=False), 1


def split(url: str) -> SplitResult:
    """The parts of a URL. Raises RedisUrlError, which shows nothing of it, where a part of the password could pass for a host."""
    wrong = fault(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        # Its text is a piece of the URL.
        wrong = wrong or "the hosts in it are none"
    if wrong:
        raise RedisUrlError(f"this Redis address cannot be taken: {wrong}")
    return parts


def driver(module: str) -> Any:
    """A module of redis-py. Raises ImportError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError("the Redis backend needs redis-py: pip install 'turnlog[redis]'") from error


def _read(url: str) -> tuple[SplitResult, bool]:
    """The parts of a URL, of its scheme without the mark of TLS, and whether it asks for TLS. Raises RedisUrlError."""
    parts = split(url)
    if parts.scheme not in SCHEMES:
        text = f"a Redis URL begins with {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}, and ://"
        raise RedisUrlError(f"{parts.scheme!r:.40} is none of these: {text}")
    given = parse_qsl(parts.query, keep_blank_values=True)
    if not all(value for _, value in given):
        raise RedisUrlError("a Redis URL has an option without a value, which redis-py would ignore: give it one, or leave it out")
    if "+" in parts.scheme and (ours := _OUR_PART.intersection(name for name, _ in given)):
        raise RedisUrlError(f"{', '.join(sorted(ours))} cannot be an option in a URL of {parts.scheme}://: leave it out")
    tls = parts.scheme.startswith("rediss")
    asked = {_truth("ssl", value) for name, value in given if name == "ssl"}
    if asked and (asked == {True, False} or parts.scheme == "unix" or (tls and False in asked)):
        raise RedisUrlError(f"ssl in the URL contradicts {parts.scheme}://: write rediss for TLS, redis for none, and leave ssl out")
    query = urlencode([(name, value) for name, value in given if name != "ssl"])
    return parts._replace(scheme=parts.scheme.replace("rediss", "redis"), query=query), tls or True in asked


def _options(module: str, parts: SplitResult, tls: bool) -> dict[str, Any]:
    """What redis-py reads out of a URL that names one server: of several hosts the first, and of a path the database at its end."""
    login, at, hosts = parts.netloc.rpartition("@")
    path, scheme = parts.path, parts.scheme
    if scheme != "unix":
        scheme = "rediss" if tls else "redis"
        path = f"/{path[1:].partition('/')[2]}" if parts.scheme == "redis+sentinel" else path
        if not (path.strip("/") or "0").isdecimal():
            # redis-py would take the database 0.
            raise RedisUrlError(f"the path in the URL of {hosts} ends in no number: write the number of a database, such as /0, or nothing")
    url = f"{scheme}://{login}{at}{hosts.split(',')[0]}{path}?{parts.query}"
    options: dict[str, Any] = driver(f"{module}.connection").parse_url(url)
    return options


def _cluster_client(module: str, parts: SplitResult, options: dict[str, Any]) -> Callable[[], Any]:
    """What makes the client of a Cluster that is asked for by any of its servers: ``redis+cluster://user:password@host1:port,host2:port``."""
    cluster = driver(f"{module}.cluster")
    hosts = parts.netloc.rpartition("@")[2]
    _, *others = _places(parts, 6379, named=True)
    own = {name: _truth(name, options.pop(name)) for name in _OF_CLUSTERS if name in options}
    # As the other engines do, a store reads what was acknowledged, whatever the URL says of replicas.
    own.pop("read_from_replicas", None)
    if options.pop("db", 0):
        raise RedisUrlError(f"the Cluster at {hosts} has only the database 0: leave the number out")
    secured = options.pop("connection_class", None)
    of_servers = {name: value for name, value in options.items() if name not in ("host", "port")}
    connection = secured or driver(f"{module}.connection").Connection
    connection(**{name: value for name, value in of_servers.items() if name != "max_connections"})
    # What the client does not pass on to its connections it would drop without a word.
    passed = {*signature(cluster.RedisCluster).parameters, *getattr(cluster, "REDIS_ALLOWED_KEYS", ())}
    if dropped := of_servers.keys() - passed:
        raise RedisUrlError(f"redis-py's client of a Cluster has no option {', '.join(sorted(dropped))}: leave it out of the URL")
    # redis-py knows one host in a URL; the others it takes beside it.
    url = f"{'rediss' if secured else 'redis'}://{hosts.split(',')[0]}"
    nodes = [cluster.ClusterNode(*place) for place in others]
    return lambda: cluster.RedisCluster.from_url(url, startup_nodes=[*nodes], **of_servers, **own)


def _sentinel_pool(module: str, parts: SplitResult, options: dict[str, Any]) -> Any:
    """The pool of the primary that Sentinel names: ``redis+sentinel://user:password@host1:port,host2:port/service/database``."""
    places = _places(parts, 26379, named=True)
    service = unquote(parts.path[1:].partition("/")[0])
    if not service:
        hosts = parts.netloc.rpartition("@")[2]
        raise RedisUrlError(f"the URL names no service of the Sentinels at {hosts}: write redis+sentinel://{hosts}/service/0")
    login = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    tls = options.pop("connection_class", None) is not None
    of_primary = {name: value for name, value in options.items() if name not in ("host", "port")}
    of_both = {name: value for name, value in of_primary.items() if name.startswith(("socket_", "ssl_", "retry"))} | {"ssl": tls}
    found = driver(f"{module}.sentinel").Sentinel(places, sentinel_kwargs=login | of_both)
    return found.master_for(service, ssl=tls, **of_primary).connection_pool


def _places(parts: SplitResult, usual: int, *, named: bool = False) -> list[tuple[str, int]]:
    """The hosts that a URL lists with commas between, each with its port or the ``usual`` one. Raises ValueError."""
    places = [urlsplit(f"//{place}") for place in parts.netloc.rpartition("@")[2].split(",")]
    found = [(place.hostname or "", place.port or usual) for place in places]
    if named and not all(name for name, _ in found):
        raise ValueError("there is a host without a name")
    return found


def _address(pool: Any) -> str:
    """Host and port to which a pool connects, or the socket."""
    options = pool.connection_kwargs
    return f"{options['host']}:{options.get('port', 6379)}" if "host" in options else str(options.get("path", "the server"))


def _truth(name: str, text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise RedisUrlError(f"{name}={text!r:.40} in a Redis URL: write true or false")
    return _TRUTH[text.lower()]
