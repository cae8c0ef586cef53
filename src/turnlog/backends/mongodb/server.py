"""One store on one server: how it gets ready, what is tried again, and what each error of the driver is called."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from bson.errors import BSONError
from pymongo import errors as driver_errors

from turnlog.backends.mongodb.driver import Document, Driver
from turnlog.backends.mongodb.schema import FORMAT, VERSION, Names, indexes
from turnlog.errors import (
    BackendUnavailableError,
    ClosedStoreError,
    CorruptSessionError,
    FormatVersionError,
    SessionError,
    StorageError,
    UnsupportedVerbError,
)

TAKEN = 11000
NO_SPACE = 14031
TOO_LONG = (50, 262)
"""MaxTimeMSExpired, ExceededTimeLimit."""
UNSEEN = (13, 18, 8000)
"""Unauthorized, AuthenticationFailed, and Atlas's own."""
DAMAGED = (1000, 50709)


class AnswerLostError(BackendUnavailableError):
    """Something was sent and the connection broke before the answer came: it has taken place, or not, or it still will."""


class TakenError(Exception):
    """A unique index refused the write."""


class Server:
    """The store's collections. Getting ready may happen more than once at the same time."""

    def __init__(self, driver: Driver, where: str, collections: Names, *, create: bool) -> None:
        self.driver = driver
        self.collections = collections
        self._where = where
        self._create = create
        self._ready = False
        self._closed = False

    async def call(self, collection: str, method: str, *arguments: Any, again: bool = True, **options: Any) -> Any:
        """What a method of a collection returns.

        ``again``: twice is the same as once, so that it is sent anew on another connection when the answer is lost.
        Raises TakenError, AnswerLostError, StorageError and its kinds.
        """
        if not self._ready:
            await self._get_ready()
        return await (self._twice if again else self._once)(collection, method, *arguments, **options)

    async def rows(self, collection: str, method: str, *arguments: Any, **options: Any) -> list[Document]:
        """All documents that a ``find`` or an ``aggregate`` gives."""
        if not self._ready:
            await self._get_ready()
        try:
            return await self._rows_once(collection, method, *arguments, **options)
        except AnswerLostError:
            return await self._rows_once(collection, method, *arguments, **options)

    async def command(self, command: Mapping[str, Any]) -> Any:
        """Run a command on the database."""
        if not self._ready:
            await self._get_ready()
        try:
            return await self.driver.command(command)
        except driver_errors.PyMongoError as error:
            raise self.named(error) from error

    async def close(self) -> None:
        """Close the client, if turnlog opened it. Idempotent."""
        if not self._closed:
            self._closed = True
            self._ready = False
            await self.driver.close()

    async def _twice(self, collection: str, method: str, *arguments: Any, **options: Any) -> Any:
        try:
            return await self._once(collection, method, *arguments, **options)
        except AnswerLostError:
            return await self._once(collection, method, *arguments, **options)

    async def _once(self, collection: str, method: str, *arguments: Any, **options: Any) -> Any:
        try:
            return await self.driver.call(collection, method, *arguments, **options)
        except driver_errors.DuplicateKeyError as error:
            raise TakenError from error
        except driver_errors.BulkWriteError as error:
            if all(one.get("code") == TAKEN for one in (error.details or {}).get("writeErrors", [])):
                raise TakenError from error
            raise self.named(error) from error
        except (driver_errors.PyMongoError, BSONError) as error:
            raise self.named(error) from error

    async def _rows_once(self, collection: str, method: str, *arguments: Any, **options: Any) -> list[Document]:
        try:
            return await self.driver.rows(collection, method, *arguments, **options)
        except driver_errors.PyMongoError as error:
            raise self.named(error) from error

    # Getting ready ----------------------------------------------------------------------------------------------------

    async def _get_ready(self) -> None:
        if self._closed:
            raise ClosedStoreError("the store is closed: open a new one")
        found = await self._version()
        if found is None:
            if not self._create:
                text = f"{self._where} holds no turnlog collections by these names: let an account that may create them open the store once"
                raise StorageError(text)
            for collection, models in indexes(self.collections).items():
                await self._twice(collection, "create_indexes", list(models))
            # Written last: whoever sees it may rely on the indexes.
            await self._write_version()
            found = await self._version() or VERSION
        if found > VERSION:
            text = f"the store on {self._where} has format {found}, this turnlog knows formats up to {VERSION}: use a newer turnlog"
            raise FormatVersionError(text, found=found, supported=VERSION)
        self._ready = True

    async def _version(self) -> int | None:
        found = await self._twice(self.collections.format, "find_one", {"_id": FORMAT})
        if found is None:
            return None
        version = found.get("version")
        if not isinstance(version, int):
            raise CorruptSessionError(f"the format document of the store on {self._where} holds no number: restore a copy")
        return version

    async def _write_version(self) -> None:
        try:
            await self._twice(self.collections.format, "insert_one", {"_id": FORMAT, "version": VERSION})
        except TakenError:
            return

    # Errors -----------------------------------------------------------------------------------------------------------

    def named(self, error: Exception) -> SessionError:
        """The error of ours for one of the driver's. Texts of the server stay out: they may hold what was to be stored."""
        name = type(error).__name__
        if isinstance(error, driver_errors.ServerSelectionTimeoutError | driver_errors.WaitQueueTimeoutError):
            busy = isinstance(error, driver_errors.WaitQueueTimeoutError)
            text = "had no free connection: raise pool_size" if busy else "cannot be reached: is it running?"
            return self._away(f"{text} ({name})")
        if isinstance(error, driver_errors.NetworkTimeout):
            return self._away("did not answer in time; what was sent may have been stored")
        broken = isinstance(error, driver_errors.PyMongoError) and error.has_error_label("RetryableWriteError")
        if broken or isinstance(error, driver_errors.ConnectionFailure):
            text = f"MongoDB at {self._where} broke the connection; what was sent may have been stored"
            return AnswerLostError(text, host=self._where)
        if isinstance(error, driver_errors.WTimeoutError):
            return self._away("stored it, but a majority of the replica set did not confirm it in time")
        if isinstance(error, driver_errors.InvalidOperation) and self._closed:
            return ClosedStoreError("the store is closed: open a new one")
        if isinstance(error, driver_errors.ConfigurationError):
            text = f"PyMongo cannot use the address or the options of the store on {self._where}: {name}"
            return UnsupportedVerbError(text, verb="open", reason="no address")
        code = getattr(error, "code", None)
        if code in TOO_LONG:
            return self._away("gave up after its time limit")
        if code in UNSEEN:
            return StorageError(f"MongoDB at {self._where} refuses this account ({code} {name}): check user, password and rights")
        if code in DAMAGED:
            return CorruptSessionError(f"MongoDB at {self._where} reports damaged data ({code} {name})")
        return StorageError(f"MongoDB at {self._where} failed ({code} {name})", errno=errno.ENOSPC if code == NO_SPACE else None)

    def _away(self, what: str) -> BackendUnavailableError:
        return BackendUnavailableError(f"MongoDB at {self._where} {what}", host=self._where)
