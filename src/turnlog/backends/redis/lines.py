"""How commands reach a server: connections out of redis-py's pools, each way with a blocking and an awaiting twin of the same shape.

The pools hand out connections; commands are written and replies read here, not by redis-py's clients, whose own retries would
hide that a command may have been carried out twice, and which leave a cancelled command's reply in the connection for the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, NamedTuple, Protocol

Command = Sequence[str | bytes | int | float]


class Taken(NamedTuple):
    """A connection and where it goes back to."""

    connection: Any
    pool: Any


class Line(Protocol):
    """One way to a server. ``take`` gives a connection to the server that has ``key``; it goes back by ``give``, or broken by ``drop``."""

    blocking: bool
    spread: bool
    """Whether different keys may lie on different servers."""
    host: str
    """Host and port, for errors; nothing secret."""

    async def take(self, key: str) -> Taken:
        """A connection that is ready."""

    async def send(self, taken: Taken, commands: Sequence[Command]) -> None:
        """Write commands in one go."""

    async def receive(self, taken: Taken) -> Any:
        """Read one reply, as bytes. Errors that the server replies with are raised."""

    async def give(self, taken: Taken) -> None:
        """Hand the connection back."""

    async def drop(self, taken: Taken) -> None:
        """Close the connection, with whatever is still under way in it, and hand it back."""

    async def refresh(self) -> None:
        """Learn anew which server has which key."""

    async def primaries(self) -> list[str]:
        """For each server that takes writes, a key that leads to it."""

    async def close(self) -> None:
        """Close what this line opened."""


class BlockingPool:
    """One server, or the primary that Sentinel names, for plain Python."""

    blocking = True
    spread = False

    def __init__(self, pool: Any, host: str, *, own: bool, sentinels: Sequence[Any] = ()) -> None:
        self._pool, self.host, self._own, self._sentinels = pool, host, own, sentinels

    async def take(self, key: str) -> Taken:
        """See Line.take."""
        return Taken(self._pool.get_connection(), self._pool)

    async def send(self, taken: Taken, commands: Sequence[Command]) -> None:
        """See Line.send."""
        taken.connection.send_packed_command([packed(commands)])

    async def receive(self, taken: Taken) -> Any:
        """See Line.receive."""
        return taken.connection.read_response(disable_decoding=True)

    async def give(self, taken: Taken) -> None:
        """See Line.give."""
        taken.pool.release(taken.connection)

    async def drop(self, taken: Taken) -> None:
        """See Line.drop."""
        taken.connection.disconnect()
        taken.pool.release(taken.connection)

    async def refresh(self) -> None:
        """See Line.refresh; the pool finds its server by itself."""

    async def primaries(self) -> list[str]:
        """See Line.primaries."""
        return [""]

    async def close(self) -> None:
        """See Line.close."""
        if self._own:
            self._pool.disconnect()
            for client in self._sentinels:
                client.close()


class AwaitingPool:
    """One server, or the primary that Sentinel names, for event loops."""

    blocking = False
    spread = False

    def __init__(self, pool: Any, host: str, *, own: bool, sentinels: Sequence[Any] = ()) -> None:
        self._pool, self.host, self._own, self._sentinels = pool, host, own, sentinels

    async def take(self, key: str) -> Taken:
        """See Line.take."""
        return Taken(await self._pool.get_connection(), self._pool)

    async def send(self, taken: Taken, commands: Sequence[Command]) -> None:
        """See Line.send."""
        await taken.connection.send_packed_command([packed(commands)])

    async def receive(self, taken: Taken) -> Any:
        """See Line.receive."""
        return await taken.connection.read_response(disable_decoding=True)

    async def give(self, taken: Taken) -> None:
        """See Line.give."""
        try:
            await taken.pool.release(taken.connection)
        except BaseException:
            # Cancelled while it waited for the pool's lock: what is not given back now is lost to everybody.
            with suppress(KeyError):
                await taken.pool.release(taken.connection)
            raise

    async def drop(self, taken: Taken) -> None:
        """See Line.drop. Waits for nothing: the caller may have been cancelled."""
        await taken.connection.disconnect(nowait=True)
        await self.give(taken)

    async def refresh(self) -> None:
        """See Line.refresh; the pool finds its server by itself."""

    async def primaries(self) -> list[str]:
        """See Line.primaries."""
        return [""]

    async def close(self) -> None:
        """See Line.close."""
        if self._own:
            await self._pool.disconnect()
            for client in self._sentinels:
                await client.aclose()


class BlockingCluster(BlockingPool):
    """A Cluster for plain Python; ``connect`` makes the client with the first command, since that already asks the servers."""

    spread = True

    def __init__(self, connect: Callable[[], Any], host: str, *, own: bool) -> None:
        super().__init__(None, host, own=own)
        self._connect = connect
        self._lock = Lock()
        self._client: Any = None

    async def take(self, key: str) -> Taken:
        """See Line.take."""
        client = self._ready()
        node = client.get_node_from_key(key) if key not in client.nodes_manager.nodes_cache else client.get_node(node_name=key)
        pool = client.get_redis_connection(node).connection_pool
        return Taken(pool.get_connection(), pool)

    async def refresh(self) -> None:
        """See Line.refresh."""
        self._ready().nodes_manager.initialize()

    async def primaries(self) -> list[str]:
        """See Line.primaries."""
        return [node.name for node in self._ready().get_primaries()]

    async def close(self) -> None:
        """See Line.close."""
        if self._own and self._client is not None:
            self._client.close()

    def _ready(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client


class AwaitingCluster(AwaitingPool):
    """A Cluster for event loops; ``connect`` makes the client with the first command."""

    spread = True

    def __init__(self, connect: Callable[[], Any], host: str, *, own: bool) -> None:
        super().__init__(None, host, own=own)
        self._connect = connect
        self._client: Any = None

    async def take(self, key: str) -> Taken:
        """See Line.take."""
        client = await self._ready()
        node = client.get_node_from_key(key) if key not in client.nodes_manager.nodes_cache else client.get_node(node_name=key)
        connection = node.acquire_connection()
        try:
            await connection.connect()
        except BaseException:
            node.release(connection)
            raise
        return Taken(connection, node)

    async def give(self, taken: Taken) -> None:
        """See Line.give."""
        taken.pool.release(taken.connection)

    async def drop(self, taken: Taken) -> None:
        """See Line.drop."""
        await taken.connection.disconnect(nowait=True)
        taken.pool.release(taken.connection)

    async def refresh(self) -> None:
        """See Line.refresh."""
        await (await self._ready()).nodes_manager.initialize()

    async def primaries(self) -> list[str]:
        """See Line.primaries."""
        return [node.name for node in (await self._ready()).get_primaries()]

    async def close(self) -> None:
        """See Line.close."""
        if self._own and self._client is not None:
            await self._client.aclose()

    async def _ready(self) -> Any:
        if self._client is None:
            self._client = self._connect()
        return await self._client.initialize()


def packed(commands: Sequence[Command]) -> bytes:
    """Commands as they go over the wire; a third of the time that redis-py takes."""
    parts = []
    for command in commands:
        parts.append(b"*%d" % len(command))
        for value in command:
            text = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else str(value).encode()
            parts += (b"$%d" % len(text), text)
    parts.append(b"")
    return b"\r\n".join(parts)
