"""What the MongoDB store costs beside the bare driver on one private server: appends, reads, forks, many sessions at once, words, bytes."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any

from pymongo import AsyncMongoClient, MongoClient, ReturnDocument, WriteConcern

from bench import crowds
from bench.material import build, history, messages
from bench.measure import Bar, Side, each, interleave, ratio_bar, time_bar
from bench.plan import Plan
from bench.server_sizes import words
from tests.servers.mongodb import DATABASE, server
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.mongodb.documents import CHUNK, STATE
from turnlog.backends.mongodb.schema import HISTORY_INDEXES
from turnlog.heads import Head
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.drive import drive
from turnlog.store.sync import SessionStore

GROUP = "MongoDB"
APPEND, GROWTH, READ, HEAD, INDEXED = 1.3, 1.2, 2.0, 2.0, 1.8
LENGTHS = (10, 10_000, 100_000)
LAST = 50
POWER = WriteConcern(w="majority", j=True)
KEPT = CHUNK + CHUNK // 2
"""Records that a buffer holds on average."""
SEARCHED = "searched_"
"""Prefix of the store that indexes words."""
DAY = 86_400.0


class Bare:
    """The same documents and indexes by hand, in one round trip a message; nothing is ever moved out of the buffer."""

    def __init__(self, database: Any) -> None:
        self._heads = database.get_collection("bare_heads", write_concern=POWER)
        self._ids = (f"{os.urandom(9).hex()}-{number:x}" for number in count())

    def change(self, session_id: str, role: str, content: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Filter, change and options of one append."""
        identity, now = next(self._ids), time.time()
        entry = {"i": identity, "t": now, "b": json.dumps({"role": role, "content": content})}
        where = {"s": session_id, "live": True, "buf.i": {"$ne": identity}}
        change = {
            "$push": {"buf": {"$each": [entry], "$slice": -KEPT}, "k": {"$each": [identity], "$slice": -CHUNK}},
            "$inc": {"counter": 1, "length": 1, "size": len(entry["b"])},
            "$set": {"updated_at": now},
        }
        return where, change, {"projection": STATE, "return_document": ReturnDocument.AFTER}

    def add(self, session_id: str, role: str, content: str) -> None:
        """One append."""
        where, change, options = self.change(session_id, role, content)
        self._heads.find_one_and_update(where, change, **options)

    async def add_async(self, session_id: str, role: str, content: str) -> None:
        """``add`` over an async database."""
        where, change, options = self.change(session_id, role, content)
        await self._heads.find_one_and_update(where, change, **options)


def mongodb_bars(plan: Plan) -> Iterator[Bar]:
    """All bars of the MongoDB store."""
    with ExitStack() as scope:
        url = scope.enter_context(server()).url
        client = scope.enter_context(MongoClient[dict[str, Any]](url))
        store = scope.enter_context(SessionStore(MongoBackend(url)))
        database = client[DATABASE]
        _prepare(database)
        for length in LENGTHS:
            build(plan, store, str(length), length, what=GROUP)
        client.admin.command("fsync")
        yield from _append_bars(plan, store, database)
        yield from _read_bars(plan, store, database)
        yield from _head_bars(plan, store, database)
        yield from _ending_bars(plan, url, database)
        yield from _search_bars(plan, url, database)
        yield from _concurrent_bars(plan, url)
        yield from _size_bars(plan, url, database)


def _prepare(database: Any) -> None:
    heads = database["bare_heads"]
    heads.create_indexes(list(HISTORY_INDEXES))
    for name in [*map(str, LENGTHS), *crowds.names(crowds.FLOOR)]:
        head = {"s": name, "live": True, "run": f"run of {name}", "own": f"run of {name}", "end": float("inf"), "updated_at": 0.0}
        heads.insert_one({**head, "counter": 0, "length": 0, "offset": 0, "base": 0, "mid": 0, "size": 0, "body": "{}", "buf": [], "k": []})
    records = database["bare_records"]
    records.create_index([("run", 1), ("seq", 1)], unique=True)
    records.create_index([("run", 1), ("id", 1)], unique=True)
    rows = [{"run": "r", "seq": n, "id": f"i{n}", "t": 1.0, "b": json.dumps(one)} for n, one in enumerate(history(LENGTHS[-1]))]
    records.insert_many(rows)


def _adding(add: Callable[[str, str], object]) -> Side:
    stream = messages()

    def run(number: int) -> float:
        pairs = [next(stream) for _ in range(number)]
        begin = time.perf_counter()
        for role, text in pairs:
            add(role, text)
        return time.perf_counter() - begin

    return run


def _append_bars(plan: Plan, store: SessionStore, database: Any) -> Iterator[Bar]:
    bare = Bare(database)
    records = database.get_collection("bare_inserts", write_concern=POWER)
    records.create_index([("run", 1), ("seq", 1)], unique=True)
    records.create_index([("run", 1), ("id", 1)], unique=True)
    numbers = count()

    def insert(role: str, text: str) -> None:
        number = next(numbers)
        records.insert_one(
            {"run": "r", "seq": number, "id": f"i{number}", "t": time.time(), "b": json.dumps({"role": role, "content": text})}
        )

    fresh = (f"new {number}" for number in count())

    def begun(number: int) -> float:
        name = next(fresh)
        store.add_messages(name, history(LENGTHS[0]))
        return _adding(lambda role, text: store.add_message(name, role, text))(number)

    sides: dict[str, Side] = {"insert": _adding(insert), str(LENGTHS[0]): begun}
    for name in map(str, LENGTHS):
        sides[f"floor {name}"] = _adding(lambda role, text, name=name: bare.add(name, role, text))  # type: ignore[misc]
        if name != str(LENGTHS[0]):
            sides[name] = _adding(lambda role, text, name=name: store.add_message(name, role, text))  # type: ignore[misc]
    with plan.progress.step(f"{GROUP}: appending"):
        taken = interleave(sides, rounds=plan.rounds, batch=CHUNK)
    for length in LENGTHS:
        name = f'append, "power", message {length:,}'
        floor = taken[f"floor {length}"]
        yield ratio_bar(GROUP, name, taken[str(length)], floor, limit=APPEND, against="the same documents and indexes by the bare driver")
    last, first = taken[str(LENGTHS[-1])], taken[str(LENGTHS[0])]
    yield ratio_bar(GROUP, f"append, message {LENGTHS[-1]:,} beside {LENGTHS[0]}", last, first, limit=GROWTH, against="a new session")
    yield ratio_bar(GROUP, f"append, message {LENGTHS[-1]:,}", last, taken["insert"], limit=None, against="one bare insert, no head")


def _read_bars(plan: Plan, store: SessionStore, database: Any) -> Iterator[Bar]:
    name, records = str(LENGTHS[-1]), database["bare_records"]
    where = {"run": "r", "seq": {"$gte": LENGTHS[-1] - LAST, "$lt": LENGTHS[-1]}}

    def read() -> list[Any]:
        return [json.loads(one["b"]) for one in records.find(where, {"_id": 0}).sort("seq", 1)]

    def both() -> list[Any]:
        database["bare_heads"].find_one({"s": name, "live": True}, {"buf": 0, "k": 0})
        return read()

    sides = {"ours": each(lambda: store.get_chat_history(name, LAST)), "floor": each(read), "head": each(both)}
    with plan.progress.step(f"{GROUP}: reading the last {LAST}"):
        taken = interleave(sides, rounds=plan.rounds, batch=20)
    title = f"last {LAST} of {LENGTHS[-1]:,}"
    yield ratio_bar(GROUP, title, taken["ours"], taken["floor"], limit=READ, against="a bare range read")
    yield ratio_bar(GROUP, title, taken["ours"], taken["head"], limit=None, against="a bare read of the head, then of the range")


def _head_bars(plan: Plan, store: SessionStore, database: Any) -> Iterator[Bar]:
    name = str(LENGTHS[-1])
    rows = database.get_collection("bare_rows", write_concern=POWER)
    sides = {
        "row": each(lambda: rows.insert_one({"_id": os.urandom(10).hex(), "body": "x" * 200})),
        "fork": each(lambda: store.fork_session(name, LENGTHS[-1] // 2)),
        "snapshot": each(lambda: store.create_snapshot(name)),
    }
    with plan.progress.step(f"{GROUP}: forks and snapshots"):
        taken = interleave(sides, rounds=plan.rounds, batch=10)
    for what, limit in (("fork", HEAD), ("snapshot", None)):
        yield ratio_bar(GROUP, f"{what} of {LENGTHS[-1]:,}", taken[what], taken["row"], limit=limit, against="one row by the bare driver")


def _ending_bars(plan: Plan, url: str, database: Any) -> Iterator[Bar]:
    """Appends to a session that ends, unless they go on."""
    bare, name = Bare(database), "ending"
    with SessionStore(MongoBackend(url)) as store:
        now = time.time()
        head = Head(session_id=name, run="run of ending", born="b", created_at=now, updated_at=now, ttl=DAY)
        drive(store.backend.put_head(head, expect=None))
        sides = {"ours": _adding(partial(store.add_message, name)), "floor": _adding(partial(bare.add, str(LENGTHS[0])))}
        with plan.progress.step(f"{GROUP}: appending with a ttl"):
            taken = interleave(sides, rounds=plan.rounds, batch=CHUNK)
    against = "the same documents, without a ttl, by the bare driver"
    yield ratio_bar(GROUP, "append to a session with a ttl", taken["ours"], taken["floor"], limit=APPEND, against=against)


def _search_bars(plan: Plan, url: str, database: Any) -> Iterator[Bar]:
    """Appends whose words are indexed, of texts with words as frequent as in a language; and what finding them costs."""
    bare, name, texts = Bare(database), "searched", words()
    backend = MongoBackend(url, prefix=SEARCHED, search=True)
    with SessionStore(backend) as store:
        with plan.progress.step(f"{GROUP}: writing {LENGTHS[1]:,} messages with their words"):
            for _ in range(LENGTHS[1] // 100):
                store.add_messages(name, [{"role": "user", "content": next(texts)} for _ in range(100)])

        def adding(add: Callable[[str, str], object]) -> Side:
            def run(number: int) -> float:
                batch = [next(texts) for _ in range(number)]
                begin = time.perf_counter()
                for text in batch:
                    add("user", text)
                return time.perf_counter() - begin

            return run

        sides = {"ours": adding(partial(store.add_message, name)), "floor": adding(partial(bare.add, str(LENGTHS[1])))}
        with plan.progress.step(f"{GROUP}: appending with words"):
            taken = interleave(sides, rounds=plan.rounds, batch=CHUNK)
        title = f"append, words indexed, message {LENGTHS[1]:,}"
        against = "the same documents without words by the bare driver"
        yield ratio_bar(GROUP, title, taken["ours"], taken["floor"], limit=INDEXED, against=against)
        first = next(words()).split()
        finding = {
            "rare": each(lambda: drive(backend.find([first[0]], limit=50))),
            "common": each(lambda: drive(backend.find(first[1:4], limit=50))),
        }
        with plan.progress.step(f"{GROUP}: finding words"):
            taken = interleave(finding, rounds=max(5, plan.rounds // 10), batch=2)
    for what, series in taken.items():
        yield time_bar(GROUP, f"finding {what} words in {LENGTHS[1]:,} messages", series, limit_ms=None)


def _size_bars(plan: Plan, url: str, database: Any) -> Iterator[Bar]:
    """Bytes of a message of 200 bytes: in documents, in them as they lie on the disk, in indexes."""
    for prefix, search in (("sized_", False), ("sized_words_", True)):
        texts = words()
        with SessionStore(MongoBackend(url, prefix=prefix, search=search)) as store, plan.progress.step(f"{GROUP}: {plan.tree:,} messages"):
            for number in range(plan.tree // 50):
                for _ in range(10):
                    store.add_messages(f"s{number % 100}", [{"role": "user", "content": next(texts)} for _ in range(5)])
        database.client.admin.command("fsync")
        stats = [database.command("collStats", f"{prefix}{name}") for name in ("history", "texts")]
        for what, field in (("documents", "size"), ("documents, on the disk", "storageSize"), ("indexes, on the disk", "totalIndexSize")):
            value = sum(one[field] for one in stats) / plan.tree
            title = f"a message of 200 bytes{', words indexed' if search else ''}: {what}"
            yield Bar(group=GROUP, name=title, unit="bytes", value=value, low=value, high=value)


def _concurrent_bars(plan: Plan, url: str) -> Iterator[Bar]:
    with asyncio.Runner() as runner:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url)
        bare = Bare(client[DATABASE])
        store = AsyncSessionStore(MongoBackend(url, asynchronous=True))
        against = "the bare async driver"
        yield from crowds.crowd_bars(plan, GROUP, runner, ours=store.add_message, floor=bare.add_async, batch=CHUNK, against=against)
        runner.run(store.close())
        runner.run(client.close())
