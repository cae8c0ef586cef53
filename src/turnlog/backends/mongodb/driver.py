"""PyMongo, blocking and async: the same three calls, which here never suspend and there really wait."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, Literal, Protocol

import pymongo
from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient, MongoClient, ReadPreference, WriteConcern
from pymongo.errors import ConfigurationError
from pymongo.read_concern import ReadConcern
from pymongo.server_type import SERVER_TYPE
from pymongo.topology_description import TOPOLOGY_TYPE

Document = dict[str, Any]
Wait = Literal["own", "nobody", "majority"]

# PyMongo writes whole commands to its log at level DEBUG, and with them the content of messages. Commands of others are logged as ever.
_ours: ContextVar[bool] = ContextVar("turnlog_mongodb_command", default=False)
logging.getLogger("pymongo.command").addFilter(lambda record: not _ours.get())

ROUTERS = (TOPOLOGY_TYPE.Sharded, TOPOLOGY_TYPE.LoadBalanced)

_left_open: list[Any] = []
"""Clients of a parent process: closing them in the child would end the parent's connections."""


class Driver(Protocol):
    """One database of one server.

    A write waits as the store's durability says; ``wait="nobody"``: for no disk and no other member; ``wait="majority"``: until a
    majority of the replica set has it, so that what is done next finds it with every later primary.
    """

    blocking: bool
    own: bool
    """Whether turnlog opened the client."""
    strict: bool
    """Whether the caller's client holds the server to its Stable API, in which a ``find`` has no ``min`` and ``max``."""

    @property
    def sharded(self) -> bool:
        """Whether what was connected to is a router for shards, or may be one."""

    async def call(self, collection: str, method: str, *arguments: Any, wait: Wait = "own", **options: Any) -> Any:
        """What a method of a collection returns."""

    async def rows(self, collection: str, method: str, *arguments: Any, settled: bool = False, **options: Any) -> list[Document]:
        """All documents of the cursor that a method of a collection returns.

        ``settled``: of a ``find``, what a majority of the replica set has, and that not before it has all that the primary has now, where
        writes wait for a majority too. Else what another is still writing may be seen, and be gone with the primary.
        """

    async def command(self, command: Mapping[str, Any], *, seconds: float | None = None) -> Any:
        """Run a command on the database; ``seconds``: how long it may take, where that is not what the client allows to all."""

    async def close(self) -> None:
        """Close what turnlog opened."""


@contextmanager
def _unlogged() -> Iterator[None]:
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


def _opened(kind: Any, url: str, settings: Document) -> Any:
    try:
        return kind(url, **settings)
    except (ValueError, TypeError, OSError) as error:
        # An OSError: a file of certificates that the address names is not there.
        raise ConfigurationError(str(error)) from error


def _is_strict(client: Any) -> bool:
    api = None if client is None else client.options.pool_options.server_api
    return api is not None and bool(api.strict)


class _Places:
    """The collections of a database, each made once."""

    def __init__(self, client: Any, database: str, concern: WriteConcern) -> None:
        self.database = client.get_database(
            database,
            codec_options=CodecOptions(),
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("local"),
            write_concern=concern,
        )
        self.client = client
        self._waits = concern.document.get("w") == "majority"
        majority = concern if self._waits else WriteConcern(w="majority")
        self._concerns: dict[Wait, WriteConcern] = {"own": concern, "nobody": WriteConcern(w=1, j=False), "majority": majority}
        self._known: dict[tuple[str, Wait], Any] = {}

    def get(self, name: str, wait: Wait = "own") -> Any:
        found = self._known.get((name, wait))
        if found is None:
            found = self._known[name, wait] = self.database.get_collection(name, write_concern=self._concerns[wait])
        return found

    @property
    def settles(self) -> bool:
        """Whether a majority may have less than the primary, and writes wait for it."""
        servers = self.client.topology_description.server_descriptions().values()
        return self._waits and any(server.server_type != SERVER_TYPE.Standalone for server in servers)

    def settled(self, name: str) -> Any:
        """The collection as a majority has it; in a session, once it has all that was there when the session last asked the primary."""
        return self.database.get_collection(name, read_concern=ReadConcern("majority"))


class BlockingDriver:
    """Driver over ``MongoClient``; for many threads, and for children of a fork."""

    blocking = True

    def __init__(self, url: str, settings: Document, database: str, concern: WriteConcern, client: Any = None) -> None:
        self.own, self.strict = client is None, _is_strict(client)
        self._url, self._settings, self._database, self._concern = url, settings, database, concern
        self._client = client
        self._lock = Lock()
        self._process = 0
        self._places: _Places | None = None

    def _open(self) -> _Places:
        with self._lock:
            if self._places is None or self._process != os.getpid():
                if self.own:
                    if self._client is not None:
                        _left_open.append(self._client)
                    self._client = _opened(MongoClient, self._url, self._settings)
                self._process = os.getpid()
                self._places = _Places(self._client, self._database, self._concern)
            return self._places

    def _ready(self) -> _Places:
        places = self._places
        return places if places is not None and self._process == os.getpid() else self._open()

    @property
    def sharded(self) -> bool:
        """See Driver.sharded."""
        return self._client is not None and self._client.topology_description.topology_type in ROUTERS

    async def call(self, collection: str, method: str, *arguments: Any, wait: Wait = "own", **options: Any) -> Any:
        """See Driver.call."""
        with _unlogged():
            return getattr(self._ready().get(collection, wait), method)(*arguments, **options)

    async def rows(self, collection: str, method: str, *arguments: Any, settled: bool = False, **options: Any) -> list[Document]:
        """See Driver.rows."""
        places = self._ready()
        place = places.get(collection)
        with _unlogged():
            if not (settled and places.settles):
                return list(getattr(place, method)(*arguments, **options))
            with places.client.start_session() as session:
                place.find_one(arguments[0], {"_id": 1}, session=session)
                # A server alone has no such time; it was not known yet that it is.
                place = place if session.operation_time is None else places.settled(collection)
                return list(getattr(place, method)(*arguments, session=session, **options))

    async def command(self, command: Mapping[str, Any], *, seconds: float | None = None) -> Any:
        """See Driver.command."""
        with _unlogged(), pymongo.timeout(seconds):
            return self._ready().database.command(command)

    async def close(self) -> None:
        """See Driver.close."""
        if self.own and self._client is not None and self._process == os.getpid():
            self._client.close()


class AsyncDriver:
    """Driver over ``AsyncMongoClient``; it belongs to the event loop that uses it first."""

    blocking = False

    def __init__(self, url: str, settings: Document, database: str, concern: WriteConcern, client: Any = None) -> None:
        self.own, self.strict = client is None, _is_strict(client)
        self._url, self._settings, self._database, self._concern = url, settings, database, concern
        self._client = client
        self._places: _Places | None = None

    def _ready(self) -> _Places:
        if self._places is None:
            if self._client is None:
                self._client = _opened(AsyncMongoClient, self._url, self._settings)
            self._places = _Places(self._client, self._database, self._concern)
        return self._places

    @property
    def sharded(self) -> bool:
        """See Driver.sharded."""
        return self._client is not None and self._client.topology_description.topology_type in ROUTERS

    async def call(self, collection: str, method: str, *arguments: Any, wait: Wait = "own", **options: Any) -> Any:
        """See Driver.call."""
        with _unlogged():
            return await getattr(self._ready().get(collection, wait), method)(*arguments, **options)

    async def rows(self, collection: str, method: str, *arguments: Any, settled: bool = False, **options: Any) -> list[Document]:
        """See Driver.rows."""
        places = self._ready()
        place = places.get(collection)
        found: list[Document]
        with _unlogged():
            if not (settled and places.settles):
                cursor = getattr(place, method)(*arguments, **options)
                found = await (cursor if hasattr(cursor, "to_list") else await cursor).to_list()
                return found
            async with places.client.start_session() as session:
                await place.find_one(arguments[0], {"_id": 1}, session=session)
                place = place if session.operation_time is None else places.settled(collection)
                found = await getattr(place, method)(*arguments, session=session, **options).to_list()
                return found

    async def command(self, command: Mapping[str, Any], *, seconds: float | None = None) -> Any:
        """See Driver.command."""
        with _unlogged(), pymongo.timeout(seconds):
            return await self._ready().database.command(command)

    async def close(self) -> None:
        """See Driver.close."""
        if self.own and self._client is not None:
            await self._client.close()
