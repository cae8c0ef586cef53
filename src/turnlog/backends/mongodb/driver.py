"""PyMongo, blocking and async: the same three calls, which here never suspend and there really wait."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, Protocol

import pymongo
from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient, MongoClient, ReadPreference, WriteConcern
from pymongo.errors import ConfigurationError
from pymongo.read_concern import ReadConcern

Document = dict[str, Any]

LONG = 24 * 3600.0
"""Seconds that a command may take which rewrites files."""

# PyMongo writes whole commands to its log at level DEBUG, and with them the content of messages. Commands of others are logged as ever.
_ours: ContextVar[bool] = ContextVar("turnlog_mongodb_command", default=False)
logging.getLogger("pymongo.command").addFilter(lambda record: not _ours.get())

_left_open: list[Any] = []
"""Clients of a parent process: closing them in the child would end the parent's connections."""


class Driver(Protocol):
    """One database of one server. ``quick`` names a collection whose writes wait for no disk and no other member."""

    blocking: bool
    own: bool
    """Whether turnlog opened the client."""

    async def call(self, collection: str, method: str, *arguments: Any, quick: bool = False, **options: Any) -> Any:
        """What a method of a collection returns."""

    async def rows(self, collection: str, method: str, *arguments: Any, **options: Any) -> list[Document]:
        """All documents of the cursor that a method of a collection returns."""

    async def command(self, command: Mapping[str, Any]) -> Any:
        """Run a command on the database that may take long."""

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
    except (ValueError, TypeError) as error:
        raise ConfigurationError(str(error)) from error


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
        self._known: dict[tuple[str, bool], Any] = {}

    def get(self, name: str, quick: bool = False) -> Any:
        found = self._known.get((name, quick))
        if found is None:
            concern = WriteConcern(w=1, j=False) if quick else None
            found = self._known[name, quick] = self.database.get_collection(name, write_concern=concern)
        return found


class BlockingDriver:
    """Driver over ``MongoClient``; for many threads, and for children of a fork."""

    blocking = True

    def __init__(self, url: str, settings: Document, database: str, concern: WriteConcern, client: Any = None) -> None:
        self.own = client is None
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

    async def call(self, collection: str, method: str, *arguments: Any, quick: bool = False, **options: Any) -> Any:
        """See Driver.call."""
        with _unlogged():
            return getattr(self._ready().get(collection, quick), method)(*arguments, **options)

    async def rows(self, collection: str, method: str, *arguments: Any, **options: Any) -> list[Document]:
        """See Driver.rows."""
        with _unlogged():
            return list(getattr(self._ready().get(collection), method)(*arguments, **options))

    async def command(self, command: Mapping[str, Any]) -> Any:
        """See Driver.command."""
        with _unlogged(), pymongo.timeout(LONG):
            return self._ready().database.command(command)

    async def close(self) -> None:
        """See Driver.close."""
        if self.own and self._client is not None and self._process == os.getpid():
            self._client.close()


class AsyncDriver:
    """Driver over ``AsyncMongoClient``; it belongs to the event loop that uses it first."""

    blocking = False

    def __init__(self, url: str, settings: Document, database: str, concern: WriteConcern, client: Any = None) -> None:
        self.own = client is None
        self._url, self._settings, self._database, self._concern = url, settings, database, concern
        self._client = client
        self._places: _Places | None = None

    def _ready(self) -> _Places:
        if self._places is None:
            if self._client is None:
                self._client = _opened(AsyncMongoClient, self._url, self._settings)
            self._places = _Places(self._client, self._database, self._concern)
        return self._places

    async def call(self, collection: str, method: str, *arguments: Any, quick: bool = False, **options: Any) -> Any:
        """See Driver.call."""
        with _unlogged():
            return await getattr(self._ready().get(collection, quick), method)(*arguments, **options)

    async def rows(self, collection: str, method: str, *arguments: Any, **options: Any) -> list[Document]:
        """See Driver.rows."""
        with _unlogged():
            cursor = getattr(self._ready().get(collection), method)(*arguments, **options)
            found: list[Document] = await (cursor if hasattr(cursor, "to_list") else await cursor).to_list()
            return found

    async def command(self, command: Mapping[str, Any]) -> Any:
        """See Driver.command."""
        with _unlogged(), pymongo.timeout(LONG):
            return await self._ready().database.command(command)

    async def close(self) -> None:
        """See Driver.close."""
        if self.own and self._client is not None:
            await self._client.close()
