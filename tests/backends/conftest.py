"""The backends that the contract of the port is held against, one line each, and a way to call them without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from redis import Redis

from tests.backends.samples import a_head
from tests.servers import mongodb as mongodb_servers
from tests.servers import postgres as postgres_servers
from tests.servers import redis as redis_servers
from turnlog.backends.json_file import JsonFileBackend
from turnlog.backends.memory import MemoryBackend
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.postgres import PostgresBackend
from turnlog.backends.redis import RedisBackend
from turnlog.backends.sqlite import SqliteBackend
from turnlog.store.drive import drive

MAKERS: dict[str, Callable[[Path], Any]] = {
    "memory": lambda folder: MemoryBackend(),
    "sqlite": lambda folder: SqliteBackend(folder / "sessions.db", durability="process"),
    "json": lambda folder: JsonFileBackend(folder / "sessions", durability="process"),
    "redis": lambda folder: RedisBackend(redis_servers.shared_url(), prefix=redis_servers.new_prefix()),
    "postgres": lambda folder: PostgresBackend(postgres_servers.shared_url(), schema=postgres_servers.new_schema(), durability="process"),
    "mongodb": lambda folder: MongoBackend(mongodb_servers.shared_url(), prefix=mongodb_servers.new_prefix(), durability="process"),
}
SHARING = ("memory", "sqlite", "redis", "postgres", "mongodb")
"""Those whose forks share records: they have the ability SharedRuns, and may read any run."""
ONE_COMMIT = ("sqlite",)
"""Those whose ``together`` is one transaction."""


class Driven:
    """A backend whose coroutines are run to their end by the call."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    def counter(self, *batches: int) -> int:
        """How far appends of so many messages each raise the counter of a head."""
        return len(batches)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.backend, name)
        return lambda *arguments, **options: drive(method(*arguments, **options))

    @contextmanager
    def together(self, session_id: str) -> Iterator[None]:
        """The scope of the port, for ``with``; what is raised inside goes through it."""
        scope = self.backend.together(session_id)
        drive(scope.__aenter__())
        try:
            yield
        except BaseException as error:
            drive(scope.__aexit__(type(error), error, error.__traceback__))
            raise
        drive(scope.__aexit__(None, None, None))


class DrivenFiles(Driven):
    """JSON files: each message raises the counter."""

    def counter(self, *batches: int) -> int:
        return sum(batches)


def _made(name: str, folder: Path) -> Iterator[Driven]:
    backend = (DrivenFiles if name == "json" else Driven)(MAKERS[name](folder))
    yield backend
    backend.close()


@pytest.fixture(params=MAKERS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driven]:
    """Every backend, empty."""
    yield from _made(request.param, tmp_path)


@pytest.fixture(params=SHARING)
def sharing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driven]:
    """Every backend whose forks share records, empty."""
    yield from _made(request.param, tmp_path)


@pytest.fixture(params=ONE_COMMIT)
def one_commit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driven]:
    """Every backend that commits a scope as one, empty."""
    yield from _made(request.param, tmp_path)


def openings(make: Callable[..., Any]) -> Iterator[Callable[..., Driven]]:
    """What opens backends with options beside those of ``make``; all are closed afterwards."""
    opened = []

    def opening(**options: Any) -> Driven:
        opened.append(Driven(make(**options)))
        return opened[-1]

    yield opening
    for each in opened:
        each.close()


@pytest.fixture
def mongodb_prefix() -> str:
    """The prefix of a MongoDB store that nobody else has."""
    return mongodb_servers.new_prefix()


@pytest.fixture
def mongodb_again(mongodb_prefix: str) -> Iterator[Callable[..., Driven]]:
    """Opens MongoDB backends on one prefix; all are closed afterwards."""
    yield from openings(partial(MongoBackend, mongodb_servers.shared_url(), prefix=mongodb_prefix, durability="process"))


@pytest.fixture
def mongodb_database() -> Iterator[Any]:
    """The database of the shared MongoDB server, by a client of the test's own."""
    with MongoClient(mongodb_servers.shared_url()) as client:
        yield client[mongodb_servers.DATABASE]


@pytest.fixture
def redis_prefix() -> str:
    """The prefix of a Redis store that nobody else has."""
    return redis_servers.new_prefix()


@pytest.fixture
def redis_again(redis_prefix: str) -> Iterator[Callable[..., Driven]]:
    """Opens Redis backends on one prefix; all are closed afterwards."""
    yield from openings(partial(RedisBackend, redis_servers.shared_url(), prefix=redis_prefix))


@pytest.fixture
def redis_client() -> Iterator[Redis]:
    """A bare client on the shared Redis server."""
    with Redis.from_url(redis_servers.shared_url()) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a SQLite file may come to be."""
    return tmp_path / "sessions.db"


@pytest.fixture
def sqlite(path: Path) -> Iterator[Driven]:
    """A SQLite backend with one empty session, which waits 0.2 seconds for others."""
    made = Driven(SqliteBackend(path, durability="process", timeout=0.2))
    made.put_head(a_head(), expect=None)
    yield made
    made.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where a directory of JSON files may come to be."""
    return tmp_path / "sessions"


@pytest.fixture
def json_backend(root: Path) -> Iterator[Driven]:
    """An empty directory of JSON files, which waits 0.1 seconds for others."""
    made = Driven(JsonFileBackend(root, durability="process", lock_timeout=0.1))
    yield made
    made.close()
