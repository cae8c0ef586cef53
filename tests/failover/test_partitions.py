"""A line that carries every request and, for a while, no answer: what was written unheard is stored once, on each of the databases."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.failover.writers import kinds, watch
from tests.servers import mongodb, postgres, redis
from tests.servers.cut_line import CutLine
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.postgres import PostgresBackend
from turnlog.backends.redis import RedisBackend
from turnlog.store.sync import SessionStore

SOON = 0.5
"""Seconds that the stores of these tests wait; PostgreSQL and MongoDB may use two more for an answer."""
LONG = 3.5
"""Seconds without answers: callers give up, send again, and give that up too."""


def on_redis(line: CutLine) -> Callable[[], SessionStore]:
    """Opens stores with one prefix behind the line."""
    prefix = redis.new_prefix()
    return lambda: SessionStore(RedisBackend(f"redis://127.0.0.1:{line.port}", prefix=prefix, timeout=SOON))


def on_postgres(line: CutLine) -> Callable[[], SessionStore]:
    """Opens stores with one schema behind the line."""
    parts, schema = urlsplit(postgres.shared_url()), postgres.new_schema()
    url = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{line.port}").geturl()
    return lambda: SessionStore(PostgresBackend(url, schema=schema, durability="process", timeout=SOON))


def on_mongodb(line: CutLine) -> Callable[[], SessionStore]:
    """Opens stores with one prefix behind the line."""
    prefix = mongodb.new_prefix()
    url = f"mongodb://127.0.0.1:{line.port}/{mongodb.DATABASE}?directConnection=true"
    return lambda: SessionStore(MongoBackend(url, prefix=prefix, durability="process", timeout=SOON))


ENGINES = {
    "redis": (redis.shared_url, on_redis),
    "postgres": (postgres.shared_url, on_postgres),
    "mongodb": (mongodb.shared_url, on_mongodb),
}


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    ("engine", "new_ids"),
    [
        *((engine, False) for engine in ENGINES),
        ("redis", True),
        *(pytest.param(engine, True, marks=pytest.mark.soak) for engine in ENGINES if engine != "redis"),
    ],
)
def test_what_was_written_unheard_is_stored_once(engine: str, new_ids: bool, rounds: int) -> None:
    url, opener = ENGINES[engine]

    def part() -> None:
        with line.silent():
            time.sleep(LONG)

    with CutLine(urlsplit(url()).port or 0) as line:
        seen = watch(opener(line), *[part] * rounds, new_ids=new_ids)
        assert line.unheard >= rounds
    assert seen.refused >= rounds
    # A writer that sends again what was stored already, as something new, is found out.
    assert ("doubled" in kinds(seen)) if new_ids else (seen.anomalies == []), seen.anomalies
