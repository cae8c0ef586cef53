"""The async stores: the same verbs, the event loop free meanwhile, cancelled verbs whole or not at all, and closing."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import say
from turnlog.backends.memory import MemoryBackend
from turnlog.backends.port import Query
from turnlog.errors import ClosedStoreError, ConflictError, InvalidCursorError
from turnlog.session import (
    AsyncDefaultSessionStore,
    AsyncHierarchicalSessionStore,
    AsyncInMemorySessionStore,
    AsyncSessionStore,
    AsyncSessionStoreProtocol,
    AsyncSqliteSessionStore,
    SessionStore,
    SessionStoreProtocol,
)

Opened = Callable[[], AsyncSessionStore]


@pytest.fixture
def opened(kind: str, tmp_path: Path) -> Opened:
    """Open an async store of one kind, in a loop of the test's own."""

    def open_one() -> AsyncSessionStore:
        if kind == "memory":
            return AsyncInMemorySessionStore()
        if kind == "sqlite":
            return AsyncSqliteSessionStore(tmp_path / "s.sqlite", durability="process")
        return AsyncDefaultSessionStore(tmp_path / "sessions", durability="process")

    return open_one


def test_the_verbs_are_those_of_the_sync_store(opened: Opened) -> None:
    async def run() -> None:
        async with opened() as store:
            assert isinstance(store, AsyncSessionStoreProtocol)
            assert not isinstance(store, SessionStoreProtocol)
            assert await store.add_message("p", "user", "a") is True
            assert await store.add_messages("p", say("b", "c"), expect_revision=await store.get_revision("p"))
            child = await store.fork_session("p", 1)
            snapshot = await store.create_snapshot("p")
            await store.revert_to_message("p", 0)
            assert await store.get_chat_history("p") == [{"role": "user", "content": "a"}]
            await store.revert_to_snapshot("p", snapshot)
            assert [message.content for message in await store.get_messages(child)] == ["a", "b"]
            assert await store.get_children("p") == [child]
            lines = [line.session_id async for line in store.iter_sessions(page_size=1)]
            assert sorted(lines) == sorted(["p", child])
            assert (await store.get_session("p")).messages[2].content == "c"
            assert await store.import_session(await store.export_session("p"), "q") == "q"
            assert [hit.session_id for hit in await store.search("c")] == ["q", "p"]
            await store.invalidate_cache()
            with pytest.raises(ConflictError):
                await store.add_messages("p", say("x"), expect_revision="stale")
            with pytest.raises(InvalidCursorError):
                await anext(store.iter_sessions(cursor="nonsense"))
            await store.delete_session("p")
            assert not await store.session_exists("p")

    asyncio.run(run())


def test_many_tasks_lose_nothing(opened: Opened) -> None:
    async def run() -> None:
        async with opened() as store:
            await asyncio.gather(*(store.add_messages("s", say(f"u{n}", f"a{n}")) for n in range(40)))
            found = [message.content for message in await store.get_messages("s")]
            assert sorted(found[::2]) == sorted(f"u{n}" for n in range(40))
            assert found[1::2] == ["a" + text[1:] for text in found[::2]]

    asyncio.run(run())


class Held(MemoryBackend):
    """Reads and appends wait in their thread until they are let go, as a slow disk would make them."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go, self.ended = threading.Event(), threading.Event(), threading.Event()

    def wait(self) -> None:
        self.begun.set()
        assert self.go.wait(30), "the event loop was blocked, or forgot to let go"

    async def append(self, *args: Any, **kwargs: Any) -> Any:
        self.wait()
        done = await super().append(*args, **kwargs)
        self.ended.set()
        return done

    async def get_head(self, session_id: str) -> Any:
        self.wait()
        return await super().get_head(session_id)


@pytest.mark.parametrize(
    "verb",
    [
        lambda store: store.add_message("s", "user", "x"),
        lambda store: store.get_chat_history("s"),
        lambda store: store.set_title("s", "x"),
        lambda store: store.session_exists("s"),
    ],
)
def test_the_loop_beats_while_a_verb_waits(verb: Any) -> None:
    async def run() -> None:
        backend = Held()
        store = AsyncSessionStore(backend)
        waiting = asyncio.ensure_future(verb(store))
        beats = 0
        while not backend.begun.is_set() or beats < 5:
            # If the verb held the loop, it could never be let go.
            await asyncio.sleep(0.001)
            beats += 1
        assert not waiting.done()
        backend.go.set()
        await waiting

    asyncio.run(run())


def test_a_cancelled_verb_takes_place_whole_or_not_at_all(opened: Opened) -> None:
    async def run() -> None:
        async with opened() as store:
            for number in range(60):
                task = asyncio.ensure_future(store.add_messages("s", say(f"u{number}", f"a{number}")))
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await store.add_messages("s", say("u-last", "a-last"))
            found = [message.content for message in await store.get_messages("s")]
            # Those cancelled may still come, and behind it too.
            assert "u-last" in found
            assert found[1::2] == ["a" + text[1:] for text in found[::2]]

    asyncio.run(run())


def test_a_verb_cancelled_while_it_writes_is_finished_by_its_thread() -> None:
    async def run() -> None:
        backend = Held()
        store = AsyncSessionStore(backend)
        backend.go.set()
        await store.add_message("s", "user", "first")
        for event in (backend.begun, backend.go, backend.ended):
            event.clear()
        task = asyncio.ensure_future(store.add_messages("s", say("a", "b")))
        assert await asyncio.to_thread(backend.begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        backend.go.set()
        assert await asyncio.to_thread(backend.ended.wait, 30)
        assert [message.content for message in await store.get_messages("s")] == ["first", "a", "b"]

    asyncio.run(run())


async def use(store: AsyncSessionStore, name: str) -> Any:
    """Call a verb with arguments that would do."""
    session = {"session_id": "s"}
    given: dict[str, Any] = {
        "messages": say("x"),
        "message_index": 0,
        "state": {},
        "payload": {"sessions": [session]},
        "data": session,
        "ttl": 60.0,
    }
    method = getattr(store, name)
    names = inspect.signature(method).parameters
    needed = [
        each for each, parameter in names.items() if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    arguments = {each: given.get(each, "word") for each in needed}
    if name == "page_sessions":
        arguments = {"query": Query()}
    elif name == "delete_where":
        arguments = {"user_id": "u"}
    called = method(**arguments)
    return [line async for line in called] if inspect.isasyncgen(called) else await called


VERBS = sorted(
    name
    for name, member in inspect.getmembers(AsyncSessionStore, callable)
    if not name.startswith("_") and name not in ("close", "invalidate_cache")
)


@pytest.mark.parametrize("name", VERBS)
def test_after_close_every_verb_says_so(name: str, opened: Opened) -> None:
    async def run() -> None:
        store = opened()
        await store.add_message("s", "user", "x")
        assert not store.closed
        await store.close()
        await store.close()
        assert store.closed
        with pytest.raises(ClosedStoreError):
            await use(store, name)

    asyncio.run(run())


def test_a_with_block_closes(opened: Opened) -> None:
    async def run() -> None:
        async with opened() as store:
            await store.add_message("s", "user", "x")
        assert store.closed

    asyncio.run(run())


def test_the_hierarchical_store_exports_one_object(tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncHierarchicalSessionStore(tmp_path) as store:
            await store.add_message("s", "user", "x")
            assert (await store.export_session("s"))["session_id"] == "s"

    asyncio.run(run())


class Waiting(MemoryBackend):
    """A backend that really awaits, as a driver for event loops does."""

    blocking = False

    async def get_head(self, session_id: str) -> Any:
        await asyncio.sleep(0)
        return await super().get_head(session_id)


def test_a_backend_that_awaits_needs_no_thread() -> None:
    async def run() -> None:
        store = AsyncSessionStore(Waiting())
        threads: set[int] = set()
        append = store.backend.append

        async def noted(*args: Any, **kwargs: Any) -> Any:
            threads.add(threading.get_ident())
            return await append(*args, **kwargs)

        store.backend.append = noted  # type: ignore[method-assign]
        await store.add_message("s", "user", "x")
        assert await store.get_chat_history("s") == [{"role": "user", "content": "x"}]
        assert threads == {threading.get_ident()}

    asyncio.run(run())
    with pytest.raises(TypeError, match="event loop"):
        SessionStore(Waiting())


def test_a_backend_that_suspends_where_it_must_not_is_told() -> None:
    class Liar(Waiting):
        """Says that it blocks, and awaits."""

        blocking = True

    store = SessionStore(Liar())
    with pytest.raises(RuntimeError, match="suspended"):
        store.session_exists("s")
