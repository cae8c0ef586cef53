"""The stores on database servers under the names people import: Redis, MongoDB, PostgreSQL; sync and async.

Of ``ttl`` see DefaultSessionStore; ``search=True`` among the options keeps an index of words for ``search`` where the engine can.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore

if TYPE_CHECKING:
    from turnlog.backends.port import Backend

ENGINES = {
    "redis": ("turnlog.backends.redis", "RedisBackend", "redis"),
    "rediss": ("turnlog.backends.redis", "RedisBackend", "redis"),
    "redis+cluster": ("turnlog.backends.redis", "RedisBackend", "redis"),
    "rediss+cluster": ("turnlog.backends.redis", "RedisBackend", "redis"),
    "redis+sentinel": ("turnlog.backends.redis", "RedisBackend", "redis"),
    "rediss+sentinel": ("turnlog.backends.redis", "RedisBackend", "redis"),
    "mongodb": ("turnlog.backends.mongodb", "MongoBackend", "mongodb"),
    "mongodb+srv": ("turnlog.backends.mongodb", "MongoBackend", "mongodb"),
    "postgresql": ("turnlog.backends.postgres", "PostgresBackend", "postgres"),
    "postgres": ("turnlog.backends.postgres", "PostgresBackend", "postgres"),
}
"""By URL scheme: the module of the engine, its class, and the extra that brings the driver."""


def server_backend(scheme: str, url: str | None, client: Any = None, *, asynchronous: bool, **options: Any) -> Backend:
    """The engine for a server, at ``url`` or behind a ``client`` of yours, which stays open. Raises ImportError without the driver."""
    module, name, _ = ENGINES[scheme]
    made: Backend = getattr(importlib.import_module(module), name)(url, client=client, asynchronous=asynchronous, **options)
    return made


class RedisSessionStore(SessionStore):
    """All sessions on a Redis or Valkey server, Cluster or Sentinel group; forks share messages. Needs the extra ``redis``.

    ``url``: ``redis://``, ``redis+cluster://`` or ``redis+sentinel://``, with ``rediss`` for TLS; or ``client``, a redis-py client of yours
    that stays open. ``options`` are those of ``turnlog.backends.redis.RedisBackend``: ``prefix``, ``wait``, ``timeout`` and more.
    ``search`` is taken as by the other stores and changes nothing: there is no index of words on Redis, so ``search()`` reads the 10,000
    sessions changed last.
    """

    def __init__(
        self,
        url: str | None = None,
        max_messages: int | None = None,
        *,
        client: Any = None,
        ttl: float | None = None,
        search: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(server_backend("redis", url, client, asynchronous=False, **options), max_messages, ttl=ttl)


class AsyncRedisSessionStore(AsyncSessionStore):
    """RedisSessionStore for event loops; a ``client`` is one of ``redis.asyncio``."""

    def __init__(
        self,
        url: str | None = None,
        max_messages: int | None = None,
        *,
        client: Any = None,
        ttl: float | None = None,
        search: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(server_backend("redis", url, client, asynchronous=True, **options), max_messages, ttl=ttl)


class MongoSessionStore(SessionStore):
    """All sessions in a MongoDB database; forks share messages. Needs the extra ``mongodb``.

    ``url``: ``mongodb://`` or ``mongodb+srv://``; or ``client``, a ``MongoClient`` of yours that stays open. ``options`` are those of
    ``turnlog.backends.mongodb.MongoBackend``.
    """

    def __init__(
        self, url: str | None = None, max_messages: int | None = None, *, client: Any = None, ttl: float | None = None, **options: Any
    ) -> None:
        super().__init__(server_backend("mongodb", url, client, asynchronous=False, **options), max_messages, ttl=ttl)


class AsyncMongoSessionStore(AsyncSessionStore):
    """MongoSessionStore for event loops; a ``client`` is an ``AsyncMongoClient``."""

    def __init__(
        self, url: str | None = None, max_messages: int | None = None, *, client: Any = None, ttl: float | None = None, **options: Any
    ) -> None:
        super().__init__(server_backend("mongodb", url, client, asynchronous=True, **options), max_messages, ttl=ttl)


class PostgresSessionStore(SessionStore):
    """All sessions in a PostgreSQL database; forks share messages. Needs the extra ``postgres``.

    ``url``: ``postgresql://`` or another form that libpq reads; or ``client``, a ``psycopg_pool.ConnectionPool`` of yours that stays open.
    ``options`` are those of ``turnlog.backends.postgres.PostgresBackend``: ``schema``, ``durability``, ``pool_size``, ``timeout`` and more.
    """

    def __init__(
        self, url: str | None = None, max_messages: int | None = None, *, client: Any = None, ttl: float | None = None, **options: Any
    ) -> None:
        super().__init__(server_backend("postgresql", url or "", client, asynchronous=False, **options), max_messages, ttl=ttl)


class AsyncPostgresSessionStore(AsyncSessionStore):
    """PostgresSessionStore for event loops; a ``client`` is an ``AsyncConnectionPool``."""

    def __init__(
        self, url: str | None = None, max_messages: int | None = None, *, client: Any = None, ttl: float | None = None, **options: Any
    ) -> None:
        super().__init__(server_backend("postgresql", url or "", client, asynchronous=True, **options), max_messages, ttl=ttl)
