"""One store on one server: how it gets ready, what is tried again, and what each error of the driver is called."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bson.errors import BSONError
from pymongo import errors as driver_errors

from turnlog.backends.mongodb.driver import Document, Driver
from turnlog.backends.mongodb.opening import Opening
from turnlog.backends.mongodb.outcomes import AnswerLostError, TakenError
from turnlog.backends.mongodb.schema import Names
from turnlog.errors import (
    BackendUnavailableError,
    ClosedStoreError,
    CorruptSessionError,
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
STEPPED_DOWN = (91, 189, 10107, 11600, 11602, 13435, 13436)
"""The server is no longer the primary, or is shutting down."""
NUMBERED = "Transaction numbers are only allowed"
"""What a standalone server says where PyMongo could not connect at first and then sends the write as it would to a replica set."""
UNCONFIRMED = "stored it, but a majority of the replica set did not confirm it in time"


class Server:
    """The store's collections. Getting ready may happen more than once at the same time."""

    def __init__(self, driver: Driver, where: str, collections: Names, *, create: bool, search: bool) -> None:
        self.driver = driver
        self.collections = collections
        self.where = where
        self.indexes_words = False
        """Whether records are written with their words: so it was found on opening, or at a head since."""
        self.when_ready: Callable[[], Awaitable[None]] = _nothing
        """What to do once the collections are ready, where search was asked for."""
        self._create, self._search = create, search
        self._ready = False
        self._closed = False

    async def call(self, collection: str, method: str, *arguments: Any, again: bool = True, **options: Any) -> Any:
        """What a method of a collection returns.

        ``again``: twice is the same as once, so that it is sent anew on another connection when the answer is lost.
        Raises TakenError, AnswerLostError, StorageError and its kinds.
        """
        if not self._ready:
            await self.get_ready()
        return await (self.twice if again else self._once)(collection, method, *arguments, **options)

    async def rows(self, collection: str, method: str, *arguments: Any, **options: Any) -> list[Document]:
        """All documents that a ``find`` or an ``aggregate`` gives."""
        if not self._ready:
            await self.get_ready()
        return await self.rows_twice(collection, method, *arguments, **options)

    async def rows_twice(self, collection: str, method: str, *arguments: Any, **options: Any) -> list[Document]:
        """``rows``, also where the store is still being opened."""
        try:
            return await self._rows_once(collection, method, *arguments, **options)
        except AnswerLostError:
            return await self._rows_once(collection, method, *arguments, **options)

    async def command(self, command: Mapping[str, Any], *, seconds: float | None = None) -> Any:
        """Run a command on the database, also where the store is still being opened; ``seconds``: see Driver.command."""
        try:
            return await self.driver.command(command, seconds=seconds)
        except driver_errors.PyMongoError as error:
            raise self.named(error) from error

    async def close(self) -> None:
        """Close the client, if turnlog opened it. Idempotent."""
        if not self._closed:
            self._closed = True
            self._ready = False
            await self.driver.close()

    async def twice(self, collection: str, method: str, *arguments: Any, **options: Any) -> Any:
        """``call``, also where the store is still being opened."""
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
            refused = (error.details or {}).get("writeErrors", [])
            if refused and all(one.get("code") == TAKEN for one in refused):
                raise TakenError(refused[0]["index"]) from error
            raise self.named(error) from error
        except (driver_errors.PyMongoError, BSONError) as error:
            raise self.named(error) from error

    async def _rows_once(self, collection: str, method: str, *arguments: Any, **options: Any) -> list[Document]:
        try:
            return await self.driver.rows(collection, method, *arguments, **options)
        except driver_errors.PyMongoError as error:
            raise self.named(error) from error

    # Getting ready ----------------------------------------------------------------------------------------------------

    async def get_ready(self) -> None:
        """Have the collections in the format of this version; the first call of every verb does it."""
        if self._ready:
            return
        if self._closed:
            raise ClosedStoreError("the store is closed: open a new one")
        self.indexes_words = await Opening(self, create=self._create, search=self._search).run()
        self._ready = True
        if self._search:
            await self.when_ready()

    # Errors -----------------------------------------------------------------------------------------------------------

    def named(self, error: Exception) -> SessionError:
        """The error of ours for one of the driver's. Texts of the server stay out: they may hold what was to be stored."""
        name = type(error).__name__
        if isinstance(error, driver_errors.ServerSelectionTimeoutError | driver_errors.WaitQueueTimeoutError):
            if isinstance(error, driver_errors.WaitQueueTimeoutError):
                return self._away(f"had no free connection: raise pool_size ({name})")
            if "SSL" in str(error) or "certificate" in str(error):
                return self._away(f"cannot be reached by TLS: see tls and tlsCAFile in its address, and the server's certificate ({name})")
            return self._away(f"cannot be reached: is it running, and does it speak TLS where that is asked for? ({name})")
        if isinstance(error, driver_errors.NetworkTimeout):
            return self._away("did not answer in time; what was sent may have been stored")
        code = getattr(error, "code", None)
        if isinstance(error, driver_errors.BulkWriteError):
            # The code of the whole says nothing; the first thing that went wrong ended it.
            details = error.details or {}
            if not details.get("writeErrors") and details.get("writeConcernErrors"):
                return self._away(UNCONFIRMED)
            code = next((one.get("code") for one in details.get("writeErrors", ())), code)
        broken = isinstance(error, driver_errors.PyMongoError) and error.has_error_label("RetryableWriteError")
        broken = broken or NUMBERED in str(error)
        if broken or code in STEPPED_DOWN or isinstance(error, driver_errors.ConnectionFailure):
            text = f"MongoDB at {self.where} broke the connection; what was sent may have been stored"
            return AnswerLostError(text, host=self.where)
        if isinstance(error, driver_errors.WTimeoutError):
            return self._away(UNCONFIRMED)
        if isinstance(error, driver_errors.InvalidOperation) and self._closed:
            return ClosedStoreError("the store is closed: open a new one")
        if isinstance(error, driver_errors.ConfigurationError):
            # PyMongo calls it a wrong configuration where no servers stand behind a name of ``mongodb+srv://``; the cause is dnspython's.
            if type(error.__cause__).__module__.partition(".")[0] == "dns":
                return self._away("cannot be resolved: is the name spelled right, and does the name server answer?")
            text = f"PyMongo cannot use the address or the options of the store on {self.where}: {name}"
            return UnsupportedVerbError(text, verb="open", reason="no address")
        if code in TOO_LONG:
            return self._away("gave up after its time limit")
        if code in UNSEEN:
            return StorageError(f"MongoDB at {self.where} refuses this account ({code} {name}): check user, password and rights")
        if code in DAMAGED:
            return CorruptSessionError(f"MongoDB at {self.where} reports damaged data ({code} {name})")
        return StorageError(f"MongoDB at {self.where} failed ({code} {name})", errno=errno.ENOSPC if code == NO_SPACE else None)

    def _away(self, what: str) -> BackendUnavailableError:
        return BackendUnavailableError(f"MongoDB at {self.where} {what}", host=self.where)


async def _nothing() -> None:
    """Done."""
