"""How many bytes a message and a session take in each engine, and how many messages a second one server takes from many sessions."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import Bar, Side, interleave
from bench.plan import Plan

TEXT = 200
"""Bytes of a message's text."""
SESSIONS = 100
"""Sessions that the measured messages lie in; they are written in turn, as on a busy server."""
TURN = 10
AT_ONCE = 64
"""Sessions that are written to at once."""
EACH = 20
ROUNDS = 11
PATIENCE = 60.0
"""Seconds to wait for an answer of a server that 64 sessions keep busy."""

Sizes = Mapping[str, int]
"""Bytes by what they hold."""
Look = Callable[[], Sizes]
Opened = Callable[[Plan, ExitStack], tuple[Any, Look, Callable[[], Any]]]
"""Starts a server; gives a store on it, what says how many bytes it takes, and what opens the async store."""


def size_bars(plan: Plan) -> Iterator[Bar]:
    """Sizes on all engines, then the servers side by side."""
    for group, opened in (("JSON files", _json), ("SQLite", _sqlite), *SERVERS.items()):
        with ExitStack() as scope:
            store, look, _ = opened(plan, scope)
            yield from _sizes(plan, group, store, look)
    yield from _crowds(plan)


def words() -> Iterator[str]:
    """Texts of 200 bytes, of words that come again as often as words do, so that engines compress them as they would compress letters."""
    chance = random.Random(1)
    known = ["".join(chance.choices("etaoinshrdlucmfwypvbgk", k=chance.randint(2, 9))) for _ in range(2_000)]
    for number in count():
        text = f"{number} " + " ".join(chance.choices(known, weights=[1 / rank for rank in range(1, 2_001)], k=TEXT // 3))
        yield text[:TEXT]


def _sizes(plan: Plan, group: str, store: Any, look: Look) -> Iterator[Bar]:
    stream, each = words(), plan.tree // SESSIONS
    create = plan.files * 10
    with plan.progress.step(f"{group}: {plan.tree:,} messages, {create:,} sessions") as step:
        for number in range(SESSIONS):
            _begin(store, f"session-{number}", number)
        before = look()
        for done in range(0, each, TURN):
            for number in range(SESSIONS):
                turn = [{"role": ("user", "assistant")[place % 2], "content": next(stream)} for place in range(min(TURN, each - done))]
                store.add_messages(f"session-{number}", turn)
            step.far(done * SESSIONS, plan.tree)
        yield from _told(group, f"a message of {TEXT} bytes", before, look(), each * SESSIONS)
        before = look()
        for number in range(create):
            _begin(store, f"many-{number}", number)
        yield from _told(group, "a session, without its messages", before, look(), create)
    store.close()


def _begin(store: Any, session_id: str, number: int) -> None:
    store.create_session(session_id, title="What the driver asked")
    store.set_agent_info(session_id, f"agent-{number % 10}", f"person-{number}")


def _told(group: str, name: str, before: Sizes, after: Sizes, number: int) -> Iterator[Bar]:
    for part, size in after.items():
        bytes_each = max(0, size - before[part]) / number
        yield Bar(group=group, name=f"{name}: {part}", unit="bytes", value=bytes_each, low=bytes_each, high=bytes_each)


def _crowds(plan: Plan) -> Iterator[Bar]:
    """Messages a second that ``AT_ONCE`` sessions append through one client, on all servers in turn."""
    with ExitStack() as scope:
        runner = scope.enter_context(asyncio.Runner())
        stores = {group: _apart(plan, scope, opened) for group, opened in SERVERS.items()}
        for store in stores.values():
            for number in range(AT_ONCE):
                runner.run(store.add_message(f"at once {number}", "user", "Go on."))
        sides = {group: _crowd(runner, store) for group, store in stores.items()}
        with plan.progress.step(f"{AT_ONCE} sessions at once"):
            taken = interleave(sides, rounds=min(ROUNDS, plan.rounds), batch=AT_ONCE * EACH)
        for store in stores.values():
            runner.run(store.close())
    for group, series in taken.items():
        figures = [1 / seconds for seconds in series.rounds]
        name = f"messages from {AT_ONCE} sessions at once, one client"
        yield Bar(group=group, name=name, unit="a second", value=median(figures), low=min(figures), high=max(figures))


def _apart(plan: Plan, scope: ExitStack, opened: Opened) -> Any:
    """The async store on a server of its own."""
    store, _, asynchronous = opened(plan, scope)
    store.close()
    return asynchronous()


def _crowd(runner: asyncio.Runner, store: Any) -> Side:
    stream = words()

    async def one(number: int, texts: list[str]) -> None:
        for text in texts:
            await store.add_message(f"at once {number}", "user", text)

    async def all_at_once(texts: list[list[str]]) -> float:
        begin = time.perf_counter()
        await asyncio.gather(*map(one, range(AT_ONCE), texts))
        return time.perf_counter() - begin

    return lambda _count: runner.run(all_at_once([[next(stream) for _ in range(EACH)] for _ in range(AT_ONCE)]))


def _json(plan: Plan, scope: ExitStack) -> tuple[Any, Look, None]:
    from turnlog.session import DefaultSessionStore

    folder = plan.folder("sizes-json")
    return DefaultSessionStore(folder, durability="process"), lambda: _files(folder), None


def _files(folder: Path) -> Sizes:
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return {"in files": sum(one.st_size for one in found), "in blocks of the disk": sum(one.st_blocks * 512 for one in found)}


def _sqlite(plan: Plan, scope: ExitStack) -> tuple[Any, Look, None]:
    from turnlog.session import SqliteSessionStore

    path = plan.folder("sizes-sqlite") / "sessions.sqlite"

    def look() -> Sizes:
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            ((pages, size),) = db.execute("SELECT page_count, page_size FROM pragma_page_count, pragma_page_size").fetchall()
        return {"rows and indexes": pages * size}

    return SqliteSessionStore(path, durability="process"), look, None


POSTGRES = """
SELECT sum(pg_table_size(c.oid))::int8, sum(pg_indexes_size(c.oid))::int8
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'turnlog' AND c.relkind = 'r'
"""


def _postgres(plan: Plan, scope: ExitStack) -> tuple[Any, Look, Callable[[], Any]]:
    from tests.servers.postgres import server
    from turnlog.session import AsyncPostgresSessionStore, PostgresSessionStore

    private = scope.enter_context(server())

    def look() -> Sizes:
        private.ask("VACUUM")
        ((rows, indexes),) = private.ask(POSTGRES)
        return {"rows": rows, "indexes": indexes}

    return PostgresSessionStore(private.url), look, lambda: AsyncPostgresSessionStore(private.url, pool_size=16, timeout=PATIENCE)


def _mongodb(plan: Plan, scope: ExitStack) -> tuple[Any, Look, Callable[[], Any]]:
    from tests.servers.mongodb import DATABASE, server
    from turnlog.session import AsyncMongoSessionStore, MongoSessionStore

    private = scope.enter_context(server())

    def look() -> Sizes:
        with private.client() as client:
            client.admin.command("fsync")
            said = client[DATABASE].command("dbStats", freeStorage=1)
        used = int(said["storageSize"] - said["freeStorageSize"]), int(said["indexSize"] - said["indexFreeStorageSize"])
        return {"documents": int(said["dataSize"]), "documents, compressed": used[0], "indexes": used[1]}

    return MongoSessionStore(private.url), look, lambda: AsyncMongoSessionStore(private.url, timeout=PATIENCE)


def _redis(plan: Plan, scope: ExitStack) -> tuple[Any, Look, Callable[[], Any]]:
    from tests.servers.redis import running
    from turnlog.session import AsyncRedisSessionStore, RedisSessionStore

    private = scope.enter_context(running("redis", "--appendonly", "yes", "--appendfsync", "always"))

    def look() -> Sizes:
        with private.client() as client:
            memory, log = client.info("memory"), client.info("persistence")
        return {"memory": memory["used_memory_dataset"], "append-only file": log["aof_current_size"]}

    return RedisSessionStore(private.url), look, lambda: AsyncRedisSessionStore(private.url, timeout=PATIENCE)


SERVERS: dict[str, Opened] = {"PostgreSQL": _postgres, "MongoDB": _mongodb, "Redis": _redis}
