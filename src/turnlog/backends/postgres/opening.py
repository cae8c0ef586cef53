"""Opening: the driver, which may not be installed, and a server by URL or over a pool of the caller's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from turnlog.errors import UnsupportedVerbError

if TYPE_CHECKING:
    from turnlog.backends.postgres.preparing import Line
    from turnlog.backends.postgres.server import Server


def load_driver() -> None:
    """Import psycopg and its pool. Raises ImportError that names the pip command."""
    try:
        import psycopg
        import psycopg_pool
    except ImportError as error:
        raise ImportError(f"PostgreSQL stores need psycopg ({error}): pip install 'turnlog[postgres]'") from error
    del psycopg, psycopg_pool


def open_server(
    url: str, asynchronous: bool, client: Any, size: int, timeout: float, schema: str, prepare: Callable[[Line], Awaitable[None]]
) -> Server:
    """A server that connects with its first statement, and is prepared then. Raises UnsupportedVerbError, ImportError."""
    load_driver()
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

    from turnlog.backends.postgres.address import address
    from turnlog.backends.postgres.pools import AsyncPool, BlockingPool, Pool
    from turnlog.backends.postgres.preparing import Line
    from turnlog.backends.postgres.server import Server

    if client is not None and not isinstance(client, ConnectionPool | AsyncConnectionPool):
        text = f"client must be a psycopg_pool.ConnectionPool or AsyncConnectionPool, not a {type(client).__name__}"
        raise UnsupportedVerbError(text, verb="open", reason="no pool")
    if (client is None) == (not url):
        raise UnsupportedVerbError("pass either a URL or client=, a pool of yours", verb="open", reason="no server")
    if client is not None:
        asynchronous = isinstance(client, AsyncConnectionPool)
        url = client.conninfo if isinstance(client.conninfo, str) else ""
    conninfo, where = address(url, timeout)
    pool: Pool = (AsyncPool if asynchronous else BlockingPool)(conninfo, size, timeout, client)

    async def check(connection: Any) -> None:
        await prepare(Line(pool, connection, schema))

    return Server(pool, where, timeout, check)
