"""What the Redis backend costs beside redis-py alone: the same keys written and read by bare commands in one round trip."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from typing import Any

import redis
import redis.asyncio

from bench import crowds
from bench.appends import Add, appending
from bench.material import build, messages
from bench.measure import Bar, Side, each, interleave, ratio_bar
from bench.plan import Plan
from tests.servers.redis import RedisServer, running
from turnlog.backends.redis import RedisBackend
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore

GROUP = "Redis"
SERVERS = {"power": ("--appendonly", "yes", "--appendfsync", "always"), "memory": ()}
"""With an fsync before each answer, and with no file at all, where nothing hides what the client costs."""
BEGUN = 10
MIDDLE = 10_000
LAST = 50
BATCH = {"power": 10, "memory": 40}
APPEND_LIMIT = 1.3
GROWTH = 1.2
READ_LIMIT = 2.0
FORK_LIMITS = {"power": 2.0, "memory": None}
"""The bar is on what is durable; where nothing is, the row costs a bare round trip, and a fork is known beside the same keys."""


def redis_bars(plan: Plan) -> Iterator[Bar]:
    """All bars on the Redis backend."""
    for durability, options in SERVERS.items():
        with running("valkey", *options) as server:
            yield from _append_bars(plan, server, durability)
            yield from _read_and_fork_bars(plan, server, durability)
            if durability == "memory":
                yield from _concurrent_bars(plan, server)


class _Bare:
    """Appends one message by the commands it needs, in one transaction of one round trip; nothing is looked at."""

    def __init__(self, client: Any, session_id: str, length: int = 0) -> None:
        self._client, self._session_id, self.length = client, session_id, length
        self._prefix = os.urandom(9).hex()

    def pipeline(self, role: str, content: str) -> Any:
        """The commands."""
        name, now, seq = self._session_id, time.time(), self.length
        self.length += 1
        body, identity = json.dumps({"role": role, "content": content}), f"{self._prefix}-{seq:x}"
        line = self._client.pipeline(transaction=True)
        line.hset(f"bare:r:{name}", str(seq), f"{now!r}\n{body}\n\n{identity}")
        line.hset(f"bare:i:{name}", identity, seq)
        line.hset(f"bare:h:{name}", mapping={"counter": seq, "length": seq + 1, "updated": now})
        line.zadd("bare:x:t", {name: now})
        return line

    def add(self, role: str, content: str) -> None:
        """One message."""
        self.pipeline(role, content).execute()

    def last(self) -> list[Any]:
        """The last messages, parsed."""
        fields = list(range(self.length - LAST, self.length))
        return [json.loads(value.split(b"\n", 2)[1]) for value in self._client.hmget(f"bare:r:{self._session_id}", fields)]


def _append_bars(plan: Plan, server: RedisServer, durability: str) -> Iterator[Bar]:
    store = SessionStore(RedisBackend(server.url))
    with server.client() as client:
        places = {"begun": BEGUN, "middle": MIDDLE, "long": plan.tree}
        floors = {}
        for name in ("middle", "long"):
            build(plan, store, name, places[name], what=f"{GROUP}, {durability}")
            floors[name] = _filled(client, name, places[name])
        names = (f"new {number}" for number in count())
        sides: dict[str, Side] = {
            "begun": appending(lambda: _begun(store, next(names))),
            "floor begun": appending(lambda: _bare_begun(client, next(names))),
        }
        for name, floor in floors.items():
            sides[name] = appending(partial(_add, store, name))
            sides[f"floor {name}"] = appending(partial(_add_bare, floor))
        with plan.progress.step(f'{GROUP}: appending, "{durability}"'):
            taken = interleave(sides, rounds=plan.rounds, batch=BATCH[durability])
    store.close()
    title = f'append, "{durability}", message'
    against = "the same keys by bare commands, one round trip"
    for name, place in places.items():
        yield ratio_bar(GROUP, f"{title} {place:,}", taken[name], taken[f"floor {name}"], limit=APPEND_LIMIT, against=against)
    text = f"{title} {plan.tree:,} beside {BEGUN}"
    yield ratio_bar(GROUP, text, taken["long"], taken["begun"], limit=GROWTH, against=f"message {BEGUN} of a new session")


def _add(store: SessionStore, session_id: str) -> Add:
    return partial(store.add_message, session_id)


def _add_bare(floor: _Bare) -> Add:
    return floor.add


def _begun(store: SessionStore, session_id: str) -> Add:
    for role, text in islice(messages(), BEGUN):
        store.add_message(session_id, role, text)
    return _add(store, session_id)


def _bare_begun(client: Any, session_id: str) -> Add:
    floor = _Bare(client, session_id)
    for role, text in islice(messages(), BEGUN):
        floor.add(role, text)
    return floor.add


def _filled(client: Any, name: str, length: int) -> _Bare:
    """The bare form of a session of that length."""
    floor = _Bare(client, name)
    stream = messages()
    while floor.length < length:
        line = client.pipeline(transaction=False)
        for role, text in islice(stream, min(1_000, length - floor.length)):
            line.command_stack += floor.pipeline(role, text).command_stack
        line.execute()
    return floor


def _read_and_fork_bars(plan: Plan, server: RedisServer, durability: str) -> Iterator[Bar]:
    store = SessionStore(RedisBackend(server.url))
    with server.client() as client:
        floor = _Bare(client, "long", plan.tree)
        keys = (f"row {number}" for number in count())
        row = {"run": os.urandom(10).hex(), "counter": 0, "length": 0, "updated": time.time(), "body": "x" * 200}
        sides = {
            "read": each(lambda: store.get_chat_history("long", LAST)),
            "floor read": each(floor.last),
            "fork": each(lambda: store.fork_session("long")),
            "floor fork": each(lambda: client.hset(next(keys), mapping=row)),
            "keys of a fork": each(lambda: _bare_fork(client, next(keys), row)),
        }
        with plan.progress.step(f'{GROUP}: reading the last {LAST}, forking, "{durability}"'):
            taken = interleave(sides, rounds=plan.rounds, batch=20)
    store.close()
    text = f'last {LAST} of {plan.tree:,}, "{durability}"'
    yield ratio_bar(GROUP, text, taken["read"], taken["floor read"], limit=READ_LIMIT, against="HMGET and json.loads")
    text, limit = f'fork of {plan.tree:,} messages, "{durability}"', FORK_LIMITS[durability]
    yield ratio_bar(GROUP, text, taken["fork"], taken["floor fork"], limit=limit, against="one hash of the same size")
    against = "the same keys written by bare commands, one round trip"
    yield ratio_bar(GROUP, f"{text}, all keys", taken["fork"], taken["keys of a fork"], limit=None, against=against)


def _bare_fork(client: Any, name: str, row: dict[str, Any]) -> None:
    """What a fork has to write, by bare commands; nothing is looked at."""
    line = client.pipeline(transaction=True)
    line.hset("bare:c:long", name, f'["long", "{row["run"]}", "{name}", 100]')
    line.sadd("bare:c", "long")
    line.hset(f"bare:h:{name}", mapping=row)
    for index in ("t", "n", "p:long"):
        line.zadd(f"bare:x:{index}", {name: row["updated"]})
    line.set(f"bare:z:{name}", "", ex=30)
    line.execute()


def _concurrent_bars(plan: Plan, server: RedisServer) -> Iterator[Bar]:
    with asyncio.Runner() as runner:
        pool = redis.asyncio.BlockingConnectionPool.from_url(server.url, max_connections=crowds.SESSIONS, timeout=5)
        client = redis.asyncio.Redis.from_pool(pool)
        store = AsyncSessionStore(RedisBackend(server.url, asynchronous=True))
        floors = {name: _Bare(client, name) for name in crowds.names(crowds.FLOOR)}

        async def bare(session_id: str, role: str, text: str) -> None:
            await floors[session_id].pipeline(role, text).execute()

        against = "redis.asyncio with as many connections"
        yield from crowds.crowd_bars(plan, GROUP, runner, ours=store.add_message, floor=bare, batch=20, against=against)
        runner.run(store.close())
        runner.run(client.aclose())
