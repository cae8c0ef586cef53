"""Pools of connections, blocking and async: the same methods, which here never suspend and there really wait."""

from __future__ import annotations

import os
import select
from threading import Lock
from time import monotonic
from typing import Any, Protocol

import psycopg
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

SLICE = 0.5
"""Seconds after which whoever waits for a connection asks anew: each asking makes the pool try to connect again."""
IDLE = 300.0
"""Seconds after which a connection that nobody needs is closed."""

Rows = list[tuple[Any, ...]]

_left_open: list[Any] = []
"""Pools of a parent process: closing them in the child would end the parent's connections."""


class Pool(Protocol):
    """Connections to one server."""

    blocking: bool
    own: bool
    """Whether turnlog opened it."""
    failed: int
    """Times that connecting has failed so far; of a pool of the caller's that is not known."""

    def at_hand(self) -> Any:
        """The connection that was kept, or None: then ``take`` one."""

    def keep(self, connection: Any) -> Any:
        """Keep a whole connection at hand for the next statement; what must be given back in its place, or None."""

    async def take(self) -> Any:
        """A connection that commits each statement by itself. Raises PoolTimeout when none comes to be free in time."""

    async def give(self, connection: Any, *, broken: bool = False) -> None:
        """Give it back; one that is broken is closed."""

    async def run(self, connection: Any, statement: bytes, values: Any) -> Rows:
        """Run one statement; its rows, if it has any."""

    async def apart(self) -> Any:
        """A new connection beside the pool, so that an error says why there is none; a pooled one where the pool is the caller's."""

    async def leave(self, connection: Any) -> None:
        """Be done with what ``apart`` gave."""

    async def close(self) -> None:
        """Close what turnlog opened."""


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    patience: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        return super().wait(gen, interval, self.patience if timeout is None else timeout)


class _AsyncConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    patience: float | None = None

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:  # noqa: ASYNC109  # the driver's own
        return await super().wait(gen, interval, self.patience if timeout is None else timeout)


class _AtHand:
    """Keeps one connection out of the pool between statements: whoever sends one after the other need not ask the pool each time."""

    def __init__(self, own: bool) -> None:
        self.own = own
        self.failed = 0
        self._kept: list[Any] = []
        self._waiting = 0
        self._closed = False
        self._autocommit = False
        """What the connections of a caller's pool have, and get back."""
        self._lock = Lock()
        self._process = os.getpid()

    def at_hand(self) -> Any:
        """See Pool.at_hand."""
        if not self._kept or self._process != os.getpid():
            return None
        try:
            connection = self._kept.pop()
        except IndexError:
            return None
        if is_stale(connection):
            # Where it is, ``take`` finds it; the pool makes another one.
            self._kept.append(connection)
            return None
        return connection

    def keep(self, connection: Any) -> Any:
        """See Pool.keep."""
        if self._kept or self._is_wanted() or not self.own:
            return connection
        self._kept.append(connection)
        # Whoever began to wait meanwhile sees it, or is seen here.
        return self._left() if self._is_wanted() else None

    def _is_wanted(self) -> bool:
        return self._waiting > 0 or self._closed

    def _left(self) -> Any:
        try:
            return self._kept.pop()
        except IndexError:
            return None

    def _wait(self, number: int) -> None:
        with self._lock:
            self._waiting += number


class BlockingPool(_AtHand):
    """Pool over ``psycopg_pool.ConnectionPool``; for many threads, and for children of a fork."""

    blocking = True

    def __init__(self, conninfo: str, size: int, timeout: float, client: Any = None) -> None:
        super().__init__(own=client is None)
        self._conninfo, self._size, self._timeout = conninfo, size, timeout
        self._pool: ConnectionPool[Any] = client if client is not None else self._new()

    def _new(self) -> ConnectionPool[Any]:
        return ConnectionPool(
            self._conninfo,
            connection_class=_Connection,
            kwargs={"autocommit": True},
            configure=self._configure,
            min_size=0,
            max_size=self._size,
            timeout=self._timeout,
            max_idle=IDLE,
            reconnect_timeout=0,
            reconnect_failed=self._count,
            open=False,
        )

    def _configure(self, connection: Any) -> None:
        connection.patience = self._timeout + 2.0

    def _count(self, pool: Any) -> None:
        self.failed += 1

    async def take(self) -> Any:
        """See Pool.take."""
        if self._process != os.getpid():
            self._start_afresh()
        pool, deadline = self._pool, monotonic() + self._timeout
        if self.own:
            pool.open()
        self._wait(1)
        try:
            while True:
                connection = self._left()
                if connection is None:
                    try:
                        connection = pool.getconn(timeout=max(0.001, min(SLICE, deadline - monotonic())))
                    except PoolTimeout:
                        if monotonic() >= deadline:
                            raise
                        continue
                if not is_stale(connection):
                    if not self.own:
                        self._autocommit = connection.autocommit
                        connection.autocommit = True
                    return connection
                connection.close()
                pool.putconn(connection)
        finally:
            self._wait(-1)

    def _start_afresh(self) -> None:
        if self.own:
            _left_open.append((self._pool, self._kept))
            self._pool, self._kept, self._waiting, self._lock = self._new(), [], 0, Lock()
        self._process = os.getpid()

    async def give(self, connection: Any, *, broken: bool = False) -> None:
        """See Pool.give."""
        if broken:
            connection.close()
        elif not self.own and not connection.closed:
            connection.autocommit = self._autocommit
        self._pool.putconn(connection)

    async def run(self, connection: Any, statement: bytes, values: Any) -> Rows:
        """See Pool.run."""
        cursor = connection.cursor(row_factory=tuple_row).execute(statement, values)
        return cursor.fetchall() if cursor.pgresult.nfields else []

    async def apart(self) -> Any:
        """See Pool.apart."""
        if not self.own:
            return await self.take()
        connection = _Connection.connect(self._conninfo, autocommit=True)
        self._configure(connection)
        return connection

    async def leave(self, connection: Any) -> None:
        """See Pool.leave."""
        if self.own:
            connection.close()
        else:
            await self.give(connection)

    async def close(self) -> None:
        """See Pool.close."""
        self._closed = True
        if self.own and self._process == os.getpid():
            self._pool.close()
            while (connection := self._left()) is not None:
                self._pool.putconn(connection)


class AsyncPool(_AtHand):
    """Pool over ``psycopg_pool.AsyncConnectionPool``; it belongs to the event loop that uses it first."""

    blocking = False

    def __init__(self, conninfo: str, size: int, timeout: float, client: Any = None) -> None:
        super().__init__(own=client is None)
        self._conninfo, self._timeout = conninfo, timeout
        self._pool: AsyncConnectionPool[Any] = client if client is not None else self._new(size)

    def _new(self, size: int) -> AsyncConnectionPool[Any]:
        return AsyncConnectionPool(
            self._conninfo,
            connection_class=_AsyncConnection,
            kwargs={"autocommit": True},
            configure=self._configure,
            min_size=0,
            max_size=size,
            timeout=self._timeout,
            max_idle=IDLE,
            reconnect_timeout=0,
            reconnect_failed=self._count,
            open=False,
        )

    async def _configure(self, connection: Any) -> None:
        connection.patience = self._timeout + 2.0

    def _count(self, pool: Any) -> None:
        self.failed += 1

    async def take(self) -> Any:
        """See Pool.take."""
        pool, deadline = self._pool, monotonic() + self._timeout
        if self.own and pool.closed:
            await pool.open()
        self._wait(1)
        try:
            while True:
                connection = self._left()
                if connection is None:
                    try:
                        connection = await pool.getconn(timeout=max(0.001, min(SLICE, deadline - monotonic())))
                    except PoolTimeout:
                        if monotonic() >= deadline:
                            raise
                        continue
                if not is_stale(connection):
                    if not self.own:
                        self._autocommit = connection.autocommit
                        await connection.set_autocommit(True)
                    return connection
                await connection.close()
                await pool.putconn(connection)
        finally:
            self._wait(-1)

    async def give(self, connection: Any, *, broken: bool = False) -> None:
        """See Pool.give."""
        if broken:
            await connection.close()
        elif not self.own and not connection.closed:
            await connection.set_autocommit(self._autocommit)
        await self._pool.putconn(connection)

    async def run(self, connection: Any, statement: bytes, values: Any) -> Rows:
        """See Pool.run."""
        cursor = await connection.cursor(row_factory=tuple_row).execute(statement, values)
        return await cursor.fetchall() if cursor.pgresult.nfields else []

    async def apart(self) -> Any:
        """See Pool.apart."""
        if not self.own:
            return await self.take()
        connection = await _AsyncConnection.connect(self._conninfo, autocommit=True)
        await self._configure(connection)
        return connection

    async def leave(self, connection: Any) -> None:
        """See Pool.leave."""
        if self.own:
            await connection.close()
        else:
            await self.give(connection)

    async def close(self) -> None:
        """See Pool.close."""
        self._closed = True
        if self.own:
            await self._pool.close()
            while (connection := self._left()) is not None:
                await self._pool.putconn(connection)


def is_stale(connection: Any) -> bool:
    """Whether an idle connection has something to say, which is that the server has ended it; a look at the socket, no round trip."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
