"""What the PostgreSQL backend costs beside the bare driver, on a private server that syncs every commit."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from typing import Any

from bench.appends import GROWTH, Add, appending
from bench.material import build, history, messages
from bench.measure import WARM_ROUNDS, Bar, each, interleave, ratio_bar
from bench.plan import Plan
from bench.reads import LAST

GROUP = "PostgreSQL"
LENGTHS = (10_000, 100_000)
"""Messages in the long sessions."""
BEGUN = 10
SESSIONS = 64
"""Sessions that are written to at once."""
POOL = 16
"""Connections for them."""
BATCH = 10
LIMIT, READ_LIMIT, FORK_LIMIT, CROWD_LIMIT = 1.3, 2.0, 2.0, 1.25
"""Times the bare driver. The last one is four fifths of its throughput."""

APPEND = """
WITH raised AS (
    UPDATE turnlog.heads SET counter = counter + 1, length = length + 1, updated_at = %s WHERE session_id = %s RETURNING run, length
) INSERT INTO turnlog.records (run, seq, id, time, body, meta) SELECT run, length - 1, %s, %s, %s, NULL FROM raised
"""
READ = "SELECT seq, id, time, body, meta FROM turnlog.records WHERE run = %s AND seq >= %s AND seq < %s ORDER BY seq"
ONE_ROW = "INSERT INTO turnlog.one_row (key, body) VALUES (%s, %s)"


class Floor:
    """The same rows in the same tables, by one bare statement a message."""

    def __init__(self, url: str) -> None:
        import psycopg

        self.db = psycopg.connect(url, autocommit=True)
        self._prefix = os.urandom(9).hex()
        self._numbers = count()

    def values(self, session_id: str, role: str, content: str) -> tuple[Any, ...]:
        """What APPEND takes."""
        now = time.time()
        return now, session_id, f"{self._prefix}-{next(self._numbers):x}", now, json.dumps({"role": role, "content": content})

    def add(self, session_id: str, role: str, content: str) -> None:
        """One message."""
        self.db.execute(APPEND, self.values(session_id, role, content))

    def last(self, run: str, length: int) -> list[Any]:
        """The last messages of a run, as values."""
        return [json.loads(row[3]) for row in self.db.execute(READ, (run, length - LAST, length)).fetchall()]

    def one_row(self) -> None:
        """One small row of its own."""
        self.db.execute(ONE_ROW, (os.urandom(10).hex(), "x" * 200))


def postgres_bars(plan: Plan) -> Iterator[Bar]:
    """All bars on PostgreSQL."""
    from tests.servers.postgres import server
    from turnlog.backends.postgres import PostgresBackend
    from turnlog.store.sync import SessionStore

    with server() as private, SessionStore(PostgresBackend(private.url)) as store:
        for length in LENGTHS:
            for side in ("ours", "floor"):
                build(plan, store, f"{side} {length}", length, what=GROUP)
        private.ask("CREATE TABLE turnlog.one_row (key text PRIMARY KEY, body text NOT NULL)")
        private.ask("VACUUM ANALYZE")
        private.ask("CHECKPOINT")
        floor = Floor(private.url)
        yield from _appends(plan, store, floor)
        yield from _reads(plan, store, floor)
        yield from _forks(plan, store, floor)
        yield from _crowds(plan, private.url, floor)
        floor.db.close()


def _appends(plan: Plan, store: Any, floor: Floor) -> Iterator[Bar]:
    rounds = plan.rounds
    names = {side: (f"{side} begun {number}" for number in count()) for side in ("ours", "floor")}
    for side in names:
        for number in range(WARM_ROUNDS + rounds):
            store.add_messages(f"{side} begun {number}", history(BEGUN))

    def touched(add: Any, session_id: str) -> Add:
        add(session_id, "user", "Go on.")
        return partial(add, session_id)

    sides = {
        "ours begun": appending(lambda: touched(store.add_message, next(names["ours"]))),
        "floor begun": appending(lambda: touched(floor.add, next(names["floor"]))),
    }
    for length in LENGTHS:
        sides[f"ours {length}"] = appending(lambda length=length: touched(store.add_message, f"ours {length}"))  # type: ignore[misc]
        sides[f"floor {length}"] = appending(lambda length=length: touched(floor.add, f"floor {length}"))  # type: ignore[misc]
    with plan.progress.step(f"{GROUP}: appending"):
        taken = interleave(sides, rounds=rounds, batch=BATCH)
    against = "the same rows and indexes in one bare statement"
    for length, name in ((BEGUN, "begun"), *((length, str(length)) for length in LENGTHS)):
        ours, bare = taken[f"ours {name}"], taken[f"floor {name}"]
        yield ratio_bar(GROUP, f"append, message {length:,}", ours, bare, limit=LIMIT, against=against)
    for length in LENGTHS:
        text = f"append, message {length:,} beside {BEGUN}"
        against = f"message {BEGUN} of a new session"
        yield ratio_bar(GROUP, text, taken[f"ours {length}"], taken["ours begun"], limit=GROWTH, against=against)


def _reads(plan: Plan, store: Any, floor: Floor) -> Iterator[Bar]:
    long = LENGTHS[-1]
    rows = floor.db.execute("SELECT run, length FROM turnlog.heads WHERE session_id = %s", (f"floor {long}",)).fetchall()
    ((run, length),) = rows
    sides = {"ours": each(lambda: store.get_chat_history(f"ours {long}", LAST)), "floor": each(lambda: floor.last(run, length))}
    with plan.progress.step(f"{GROUP}: reading the last {LAST}"):
        taken = interleave(sides, rounds=plan.rounds, batch=20)
    yield ratio_bar(
        GROUP, f"last {LAST} of {long:,}", taken["ours"], taken["floor"], limit=READ_LIMIT, against="a bare range read, and json.loads"
    )


def _forks(plan: Plan, store: Any, floor: Floor) -> Iterator[Bar]:
    long = LENGTHS[-1]
    sides = {"ours": each(lambda: store.fork_session(f"ours {long}", long // 2)), "floor": each(floor.one_row)}
    with plan.progress.step(f"{GROUP}: forking"):
        taken = interleave(sides, rounds=plan.rounds, batch=BATCH)
    yield ratio_bar(GROUP, f"fork ({long:,} messages)", taken["ours"], taken["floor"], limit=FORK_LIMIT, against="one bare row")


def _crowds(plan: Plan, url: str, floor: Floor) -> Iterator[Bar]:
    from psycopg_pool import AsyncConnectionPool

    from turnlog.backends.postgres import PostgresBackend
    from turnlog.store.aio import AsyncSessionStore

    with asyncio.Runner() as runner:
        store = AsyncSessionStore(PostgresBackend(url, asynchronous=True, pool_size=POOL))
        pool = AsyncConnectionPool(url, min_size=POOL, max_size=POOL, kwargs={"autocommit": True}, open=False)
        runner.run(pool.open(wait=True))
        stream = messages()

        async def bare(session_id: str, role: str, text: str) -> None:
            async with pool.connection() as connection:
                await connection.execute(APPEND, floor.values(session_id, role, text))

        async def crowd(add: Any, side: str, size: int) -> float:
            texts = list(islice(stream, size))

            async def one(number: int) -> None:
                for role, text in texts:
                    await add(f"{side} crowd {number}", role, text)

            begin = time.perf_counter()
            await asyncio.gather(*(one(number) for number in range(SESSIONS)))
            return (time.perf_counter() - begin) / SESSIONS

        for side in ("ours", "floor"):
            for number in range(SESSIONS):
                runner.run(store.add_message(f"{side} crowd {number}", "user", "Go on."))
        sides = {
            "ours": lambda size: runner.run(crowd(store.add_message, "ours", size)),
            "floor": lambda size: runner.run(crowd(bare, "floor", size)),
        }
        with plan.progress.step(f"{GROUP}: {SESSIONS} sessions at once"):
            taken = interleave(sides, rounds=plan.rounds // 2, batch=3)
        runner.run(store.close())
        runner.run(pool.close())
    yield ratio_bar(
        GROUP,
        f"append, {SESSIONS} sessions at once, async",
        taken["ours"],
        taken["floor"],
        limit=CROWD_LIMIT,
        against=f"the bare async driver, {POOL} connections each",
    )
