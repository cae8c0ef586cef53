"""Making a server write its files anew, so that nothing erased stays in them."""

from __future__ import annotations

from collections.abc import Callable

from turnlog.backends.redis.keys import pairs
from turnlog.backends.redis.server import Server
from turnlog.errors import StorageError

PAUSE_MS = 100
"""Milliseconds between two looks at a server that is writing."""


async def compact(server: Server) -> None:
    """Let every primary rewrite its append-only file and its dump, where it keeps them, and wait until that is done."""
    for place in await server.line.primaries():
        ((appends,), (dumps,)) = [
            [value.decode() for _, value in pairs(reply)]
            for reply in await server.ask(place, ("CONFIG", "GET", "appendonly"), ("CONFIG", "GET", "save"))
        ]
        if appends == "yes":
            await _rewrite(
                server, place, ("BGREWRITEAOF",), "aof_rewrite_in_progress", "aof_rewrite_scheduled", "aof_last_bgrewrite_status"
            )
        if dumps:
            await _rewrite(server, place, ("BGSAVE", "SCHEDULE"), "rdb_bgsave_in_progress", "", "rdb_last_bgsave_status")


async def _rewrite(server: Server, place: str, command: tuple[str, ...], running: str, waiting: str, status: str) -> None:
    def busy(facts: dict[str, str]) -> bool:
        return facts[running] == "1" or facts.get(waiting) == "1"

    # One that began earlier may have passed what was erased since.
    await _until(server, place, lambda facts: not busy(facts))
    await server.ask(place, command)
    facts = await _until(server, place, lambda facts: not busy(facts))
    if facts[status] != "ok":
        raise StorageError(f"{server.line.host} could not rewrite its files: see its log", host=server.line.host)


async def _until(server: Server, place: str, done: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    while True:
        (reply,) = await server.ask(place, ("INFO", "persistence"))
        text = reply.decode() if isinstance(reply, bytes) else str(reply)
        facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if done(facts):
            return facts
        # More replicas than there are: so the server makes us wait, in plain Python and on an event loop alike.
        await server.ask(place, ("WAIT", 10_000, PAUSE_MS))
