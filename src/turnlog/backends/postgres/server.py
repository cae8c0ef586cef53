"""Running statements on a server: what to try again, and what each error of the driver is called."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from turnlog.backends.postgres.outcomes import AnswerLostError, TakenError, UnindexedError
from turnlog.backends.postgres.pools import Pool, Rows
from turnlog.backends.postgres.schema import NO_WORDS
from turnlog.errors import BackendUnavailableError, ClosedStoreError, CorruptSessionError, LockTimeoutError, SessionError, StorageError

DEADLOCKS = 10
"""Times that a statement which the server undid in favour of another is tried again."""

UNDONE = ("40001", "40P01")
"""Serialization failure, deadlock: nothing was written, and again it may be."""
TOO_LONG = ("57014", "55P03")
DAMAGED = ("XX001", "XX002")
READ_ONLY = "25006"
NO_SPACE = "53100"
NOT_ALLOWED = "42501"


class Server:
    """One server. ``prepare`` is awaited with a connection before the first statement, and may be more than once at the same time."""

    def __init__(self, pool: Pool, where: str, timeout: float, prepare: Callable[[Any], Awaitable[None]]) -> None:
        self.pool = pool
        self.where = where
        self._timeout = timeout
        self._prepare = prepare
        self.ready = False
        self._closed = False

    async def run(self, statement: bytes, values: Any = (), *, again: bool = True) -> Rows:
        """The rows of one statement, committed by itself.

        ``again``: running it twice is the same as once, so that it is sent anew on another connection when the answer is lost.
        Raises TakenError, UnindexedError, AnswerLostError, StorageError and its kinds.
        """
        if not self.ready:
            await self.get_ready()
        lost = undone = 0
        while True:
            try:
                return await self._once(statement, values)
            except AnswerLostError:
                lost += 1
                if not again or lost > 1:
                    raise
            except StorageError as error:
                undone += 1
                if getattr(error.__cause__, "sqlstate", None) not in UNDONE or undone > DEADLOCKS:
                    raise

    async def _once(self, statement: bytes, values: Any) -> Rows:
        connection = self.pool.at_hand()
        if connection is None:
            connection = await self._take()
        whole = broken = False
        try:
            rows = await self.pool.run(connection, statement, values)
            whole = True
            return rows
        except psycopg.errors.UniqueViolation as error:
            raise TakenError(error.diag.constraint_name or "") from error
        except psycopg.Error as error:
            if error.sqlstate == NO_WORDS:
                raise UnindexedError from error
            late = isinstance(error, psycopg.errors._WaitTimeout)
            # A server that was a primary once may be one no more: the next connection finds out who is.
            broken = late or error.sqlstate == READ_ONLY
            raise self._named(error, late, connection.closed) from error
        finally:
            back = self.pool.keep(connection) if whole else connection
            if back is not None:
                await self.pool.give(back, broken=broken)

    async def _take(self) -> Any:
        failed = self.pool.failed
        try:
            return await self.pool.take()
        except PoolTimeout as error:
            raise self._none_free(failed) from error
        except PoolClosed as error:
            raise ClosedStoreError("the store is closed: open a new one") from error
        except psycopg.Error as error:
            raise self.unreachable(error) from error

    async def get_ready(self) -> None:
        """Prepare the server. Done by the first statement; whoever must know first what is there does it before."""
        if self._closed:
            raise ClosedStoreError("the store is closed: open a new one")
        try:
            connection = await self.pool.apart()
        except (psycopg.Error, PoolTimeout) as error:
            raise self.unreachable(error) from error
        try:
            await self._prepare(connection)
        except psycopg.Error as error:
            raise self._named(error, isinstance(error, psycopg.errors._WaitTimeout), connection.closed) from error
        finally:
            await self.pool.leave(connection)
        self.ready = True

    async def run_for_long(self, statements: list[bytes]) -> None:
        """Run statements one after the other on one connection, however long they take."""
        if not self.ready:
            await self.get_ready()
        connection = await self.pool.apart()
        try:
            connection.patience = None
            for statement in (b"SET statement_timeout = 0", *statements, b"RESET statement_timeout"):
                await self.pool.run(connection, statement, None)
        except psycopg.Error as error:
            raise self._named(error, False, connection.closed) from error
        finally:
            await self.pool.leave(connection)

    async def close(self) -> None:
        """Close the pool, if turnlog opened it. Idempotent."""
        if not self._closed:
            self._closed = True
            await self.pool.close()

    # Errors -----------------------------------------------------------------------------------------------------------

    def unreachable(self, error: Exception) -> BackendUnavailableError:
        """There is no connection, and why. libpq names host, port, user and database, never the password."""
        why = " ".join(str(error).split())
        return BackendUnavailableError(f"PostgreSQL at {self.where} cannot be reached: {why}", host=self.where)

    def _none_free(self, failed: int) -> BackendUnavailableError:
        if self.pool.failed > failed:
            text = f"PostgreSQL at {self.where} could not be reached for {self._timeout:g} seconds: is it running?"
        else:
            text = f"all connections to PostgreSQL at {self.where} were busy for {self._timeout:g} seconds: raise pool_size"
        return BackendUnavailableError(text, host=self.where)

    def _named(self, error: psycopg.Error, late: bool, closed: bool) -> SessionError:
        """The error of ours for one of the driver's. Texts of the server stay out: they may hold what was to be stored."""
        code, name = error.sqlstate or "", type(error).__name__
        if late:
            return BackendUnavailableError(f"PostgreSQL at {self.where} did not answer for {self._timeout + 2:g} seconds", host=self.where)
        if closed:
            return AnswerLostError(
                f"the connection to PostgreSQL at {self.where} broke, what was sent may have been stored", host=self.where
            )
        if code == READ_ONLY:
            return AnswerLostError(f"PostgreSQL at {self.where} takes no writes, it is a standby: name the primary", host=self.where)
        if code in TOO_LONG:
            text = f"PostgreSQL at {self.where} undid a statement after {self._timeout:g} seconds of waiting: try again, or raise timeout"
            return LockTimeoutError(text, timeout=self._timeout)
        if code in DAMAGED:
            return CorruptSessionError(f"PostgreSQL at {self.where} reports damaged data ({code} {name})")
        if code == NOT_ALLOWED:
            text = f"PostgreSQL at {self.where} does not allow this account what turnlog needs: `turnlog schema URL` prints what that is"
            return StorageError(text)
        text = f"PostgreSQL at {self.where} failed ({code} {name})"
        return StorageError(text, errno=errno.ENOSPC if code == NO_SPACE else None)
