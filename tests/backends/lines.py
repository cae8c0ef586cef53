"""Databases whose lines are cut: backends behind such a line, beside others that reach the same server; what an error says in all."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.backends.conftest import Driven
from tests.backends.samples import a_head
from tests.servers import mongodb, postgres
from tests.servers.cut_line import CutLine
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.postgres import PostgresBackend

SOON = 1.5
"""Seconds that the stores of these tests wait."""

Pair = tuple[Any, Driven]
"""A backend behind a line, called without await, with a session "s"; and one beside the line."""


class Engine(NamedTuple):
    """A database, and what is its own in tests of lines and servers that break."""

    backend: Callable[..., Any]
    """Made from a URL and options."""
    named: str
    """The option that gives a store its name."""
    name: Callable[[], str]
    """A name for a new store."""
    only: bytes
    """What only a store's own requests hold."""
    url: Callable[[], str]
    """Of the shared server."""
    options: str
    """Of the URL that leads behind a line."""
    scheme: str
    server: Callable[[], AbstractContextManager[Any]]
    """A private server, which can be stopped, started, paused and resumed."""
    ends: Sequence[signal.Signals]
    """The ways to end such a server, from the gentlest on."""

    def open(self, url: str, name: str, **options: Any) -> Any:
        """The backend of a store with this name."""
        return self.backend(url, **{self.named: name}, durability="process", **options)


ENGINES = {
    # What the driver asks to watch the server names no collection.
    "mongodb": Engine(
        backend=MongoBackend,
        named="prefix",
        name=lambda: mongodb.new_prefix() + "_lost_",
        only=b"_lost_",
        url=mongodb.shared_url,
        options="?directConnection=true&retryReads=false",
        scheme="mongodb",
        server=mongodb.server,
        ends=(signal.SIGTERM, signal.SIGKILL),
    ),
    # What the pool sends to connect, at any time, names no schema.
    "postgres": Engine(
        backend=PostgresBackend,
        named="schema",
        name=postgres.new_schema,
        only=b"turnlog_test_",
        url=postgres.shared_url,
        options="",
        scheme="postgresql",
        server=postgres.server,
        ends=(signal.SIGINT, signal.SIGQUIT, signal.SIGKILL),
    ),
}


class Awaited:
    """An async backend whose calls run on one loop."""

    def __init__(self, backend: Any, runner: asyncio.Runner) -> None:
        self.backend = backend
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.backend, name)

        async def await_it(arguments: Any, options: Any) -> Any:
            return await method(*arguments, **options)

        return lambda *arguments, **options: self._runner.run(await_it(arguments, options))


class BehindALine:
    """Fixtures of tests of the ``engine`` that their file names: a line to its server, and a pair of backends on one new store."""

    @pytest.fixture
    def line(self, engine: str) -> Iterator[CutLine]:
        """A line to the shared server, which cuts only what stores send."""
        with CutLine(urlsplit(ENGINES[engine].url()).port or 0, only=ENGINES[engine].only) as made:
            yield made

    @pytest.fixture(params=["blocking", "async"])
    def pair(self, request: pytest.FixtureRequest, engine: str, line: CutLine) -> Iterator[Pair]:
        """A backend behind the line, blocking or async, and one beside it."""
        opened, asynchronous = ENGINES[engine], request.param == "async"
        name, parts = opened.name(), urlsplit(opened.url())
        login, at, _ = parts.netloc.rpartition("@")
        through = parts._replace(netloc=f"{login}{at}127.0.0.1:{line.port}").geturl() + opened.options
        with ExitStack() as scope:
            beside = Driven(opened.open(opened.url(), name))
            scope.callback(beside.close)
            beside.put_head(a_head(), expect=None)
            backend = opened.open(through, name, asynchronous=asynchronous, timeout=SOON)
            behind: Any = Awaited(backend, scope.enter_context(asyncio.Runner())) if asynchronous else Driven(backend)
            scope.callback(behind.close)
            behind.get_head("s")
            yield behind, beside


def said(error: BaseException | None) -> str:
    """An error with all that led to it, as a traceback shows it."""
    return "" if error is None else f"{error} {error!r} {said(error.__cause__ or error.__context__)}"


FORKING = """
import os, sys
from turnlog.session import open_store
store = open_store(sys.argv[1])
store.add_messages("s", [{"role": "user", "content": "before"}] * 2)
child = os.fork()
for number in range(2):
    store.add_message("s", "user", f"{child} {number}")
if child == 0:
    store.close()
    print("child", flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.add_message("s", "user", "after")
print("parent", len(store.get_chat_history("s")) - 1)
store.close()
"""
"""A program that forks while it has the store of its URL open, and prints what each side found."""
