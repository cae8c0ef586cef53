"""What the PostgreSQL backend costs beside the bare driver, with a ttl and with words too, on a private server that syncs every commit."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from typing import Any

from bench import crowds
from bench.appends import GROWTH, Add, appending
from bench.material import build, history
from bench.measure import WARM_ROUNDS, Bar, Side, each, interleave, ratio_bar, time_bar
from bench.plan import Plan
from bench.reads import LAST
from bench.server_sizes import TEXT, words

GROUP = "PostgreSQL"
LENGTHS = (10_000, 100_000)
"""Messages in the long sessions."""
BEGUN = 10
POOL = 16
"""Connections of each side for what is written at once."""
BATCH = 10
LIMIT, READ_LIMIT, FORK_LIMIT, WORDS_LIMIT = 1.3, 2.0, 2.0, 1.8
"""Times the bare driver."""
DAY = 86_400.0
EXPIRED_MS = 5.0
FAIR = "-c enable_seqscan=off"
"""Lets the bare driver, too, go by the indexes of tables that were small when its plans were made."""

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

        self.db = psycopg.connect(url, autocommit=True, options=FAIR)
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
        yield from _ending(plan, private, store, floor)
        yield from _searching(plan, private.url, floor)
        yield from _crowds(plan, private.url, floor)
        yield from _sizes(plan, private)
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


def _ending(plan: Plan, private: Any, store: Any, floor: Floor) -> Iterator[Bar]:
    """Appends to a session that ends, unless they go on; and the page of expired sessions that a sweep asks for."""
    from turnlog.backends.port import Query
    from turnlog.heads import Head
    from turnlog.store.drive import drive

    now, long = time.time(), LENGTHS[0]
    head = Head(session_id="ending", run="run of ending", born="b", created_at=now, updated_at=now, ttl=DAY)
    drive(store.backend.put_head(head, expect=None))
    store.add_messages("ending", history(BEGUN))
    sides = {
        "ours": appending(lambda: partial(store.add_message, "ending")),
        "floor": appending(lambda: partial(floor.add, f"floor {long}")),
    }
    with plan.progress.step(f"{GROUP}: appending with a ttl"):
        taken = interleave(sides, rounds=plan.rounds, batch=BATCH)
    against = "the same rows without a ttl in one bare statement"
    yield ratio_bar(GROUP, "append, session with a ttl", taken["ours"], taken["floor"], limit=LIMIT, against=against)
    private.ask(
        "INSERT INTO turnlog.heads (session_id, run, counter, length, count_offset, updated_at, ttl, body) "
        "SELECT 'many ' || n, 'run ' || n, 0, 0, 0, n, CASE WHEN n % 100 = 0 THEN 60 END, body "
        f"FROM turnlog.heads, generate_series(1, {plan.rows // 2}) AS n WHERE session_id = 'ending'"
    )
    private.ask("VACUUM ANALYZE turnlog.heads")
    query = Query(expired_at=now)
    listing = {"ours": each(lambda: drive(store.backend.list_heads(query, cursor=None, limit=50)))}
    with plan.progress.step(f"{GROUP}: listing expired sessions"):
        taken = interleave(listing, rounds=plan.rounds // 2, batch=3)
    name = f"page of 50 of {plan.rows // 200:,} expired of {plan.rows // 2:,}"
    yield time_bar(GROUP, name, taken["ours"], limit_ms=EXPIRED_MS)
    private.ask("DELETE FROM turnlog.heads WHERE session_id LIKE 'many %'")
    private.ask("VACUUM ANALYZE turnlog.heads")


def _searching(plan: Plan, url: str, floor: Floor) -> Iterator[Bar]:
    """Appends whose words are indexed, of texts with words as frequent as in a language; and what finding them costs."""
    from turnlog.backends.postgres import PostgresBackend
    from turnlog.store.drive import drive
    from turnlog.store.sync import SessionStore

    texts, long = words(), LENGTHS[-1]

    def adding(add: Any) -> Side:
        def run(size: int) -> float:
            batch = list(islice(texts, size))
            begin = time.perf_counter()
            for text in batch:
                add("user", text)
            return time.perf_counter() - begin

        return run

    with SessionStore(PostgresBackend(url, schema="searched", search=True)) as store:
        with plan.progress.step(f"{GROUP}: writing {long:,} messages with their words"):
            for _ in range(long // 1_000):
                store.add_messages("ours", [{"role": "user", "content": text} for text in islice(texts, 1_000)])
        sides = {"ours": adding(partial(store.add_message, "ours")), "floor": adding(partial(floor.add, f"floor {long}"))}
        with plan.progress.step(f"{GROUP}: appending with words"):
            taken = interleave(sides, rounds=plan.rounds, batch=BATCH)
        against = "the same rows without words in one bare statement"
        title = f"append, words indexed, message {long:,}"
        yield ratio_bar(GROUP, title, taken["ours"], taken["floor"], limit=WORDS_LIMIT, against=against)
        first = next(words()).split()
        finding = {
            "a rare word": each(lambda: drive(store.backend.find(first[:1], limit=50))),
            "three common words": each(lambda: drive(store.backend.find(first[1:4], limit=50))),
        }
        with plan.progress.step(f"{GROUP}: finding words"):
            taken = interleave(finding, rounds=max(5, plan.rounds // 10), batch=2)
    for what, series in taken.items():
        yield time_bar(GROUP, f"finding {what} in {long:,} messages", series, limit_ms=None)


def _sizes(plan: Plan, private: Any) -> Iterator[Bar]:
    """Bytes of a message of 200 bytes, and of each of its indexes, by the figures of the server."""
    from turnlog.backends.postgres import PostgresBackend
    from turnlog.store.sync import SessionStore

    turn = 10
    for schema, search in (("sized", False), ("sized_words", True)):
        texts = words()
        with SessionStore(PostgresBackend(private.url, schema=schema, search=search)) as store:
            with plan.progress.step(f"{GROUP}: {plan.tree:,} messages of {TEXT} bytes"):
                for number in range(plan.tree // turn):
                    store.add_messages(f"s{number % 100}", [{"role": "user", "content": text} for text in islice(texts, turn)])
        private.ask(f"VACUUM {schema}.records")
        table = f"{schema}.records"
        for name, size in private.ask(
            f"SELECT 'row', pg_table_size('{table}') UNION ALL SELECT 'index ' || indexrelid::regclass, pg_relation_size(indexrelid) "
            f"FROM pg_index WHERE indrelid = '{table}'::regclass"
        ):
            title = f"a message of {TEXT} bytes{', words indexed' if search else ''}: {name.replace(f'{schema}.', '')}"
            yield Bar(group=GROUP, name=title, unit="bytes", value=size / plan.tree, low=size / plan.tree, high=size / plan.tree)


def _crowds(plan: Plan, url: str, floor: Floor) -> Iterator[Bar]:
    from psycopg_pool import AsyncConnectionPool

    from turnlog.backends.postgres import PostgresBackend
    from turnlog.store.aio import AsyncSessionStore

    with asyncio.Runner() as runner:
        store = AsyncSessionStore(PostgresBackend(url, asynchronous=True, pool_size=POOL))
        pool = AsyncConnectionPool(url, min_size=POOL, max_size=POOL, kwargs={"autocommit": True, "options": FAIR}, open=False)
        runner.run(pool.open(wait=True))
        for name in crowds.names(crowds.FLOOR):
            runner.run(store.add_message(name, "user", "Go on."))

        async def bare(session_id: str, role: str, text: str) -> None:
            async with pool.connection() as connection:
                await connection.execute(APPEND, floor.values(session_id, role, text))

        against = f"the bare async driver, {POOL} connections each"
        yield from crowds.crowd_bars(plan, GROUP, runner, ours=store.add_message, floor=bare, batch=5, against=against)
        runner.run(store.close())
        runner.run(pool.close())
