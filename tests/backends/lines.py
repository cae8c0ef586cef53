"""Backends behind a line that can be cut, beside others that reach the same server directly; and what an error says in all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.backends.conftest import Driven
from tests.backends.samples import a_head
from tests.servers import mongodb, postgres
from tests.servers.cut_line import CutLine
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.postgres import PostgresBackend

Pair = tuple[Any, Driven]
"""A backend behind a line, called without await, with a session "s"; and one beside the line."""


class Engine(NamedTuple):
    """A database: the URL of its server, what only a store's own requests hold, a name for a new store, how one is opened behind a line."""

    url: Callable[[], str]
    only: bytes
    name: Callable[[], str]
    open: Callable[..., Any]
    """With a URL, a name and options."""
    options: str
    """Of the URL that leads behind the line."""


ENGINES = {
    # What the driver asks to watch the server names no collection.
    "mongodb": Engine(
        mongodb.shared_url,
        b"_lost_",
        lambda: mongodb.new_prefix() + "_lost_",
        lambda url, name, **options: MongoBackend(url, prefix=name, durability="process", **options),
        "?directConnection=true&retryReads=false",
    ),
    # What the pool sends to connect, at any time, names no schema.
    "postgres": Engine(
        postgres.shared_url,
        b"turnlog_test_",
        postgres.new_schema,
        lambda url, name, **options: PostgresBackend(url, schema=name, durability="process", **options),
        "",
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


def line_to(engine: str) -> CutLine:
    """A line to the shared server, which cuts only what stores send."""
    return CutLine(urlsplit(ENGINES[engine].url()).port or 0, only=ENGINES[engine].only)


@contextmanager
def a_pair(engine: str, line: CutLine, *, asynchronous: bool, timeout: float) -> Iterator[Pair]:
    """Two backends of one new store."""
    url, _, name_one, opens, options = ENGINES[engine]
    name, parts = name_one(), urlsplit(url())
    login, at, _ = parts.netloc.rpartition("@")
    through = parts._replace(netloc=f"{login}{at}127.0.0.1:{line.port}").geturl() + options
    with ExitStack() as scope:
        beside = Driven(opens(url(), name))
        scope.callback(beside.close)
        beside.put_head(a_head(), expect=None)
        backend = opens(through, name, asynchronous=asynchronous, timeout=timeout)
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
