"""What a reader remembers of a session is always what the session holds, whoever changed it; and work in threads, cancelled or not."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.turns.conftest import FULL, MAKERS
from turnlog.errors import NothingToUndoError, SessionError
from turnlog.messages import SessionMessage
from turnlog.session import DefaultSessionStore
from turnlog.session.awaiting import FEW, AwaitedStore, InThread, Known, finished
from turnlog.trim import Window

STEPS = 150
WINDOWS = (1, 5, 20, FEW + 50, None)


async def change(store: AwaitedStore, chance: random.Random, step: int) -> None:
    """Something that others may do to the session."""
    count = len(await store.call("get_messages", "chat"))
    kind = chance.choices(["add", "revert", "undo", "clear", "delete", "snapshot"], [60, 10, 5, 3, 2, 3])[0]
    if kind == "add":
        await store.call("add_messages", "chat", [{"role": "user", "content": f"{step}"}] * chance.randrange(1, 4))
    elif kind == "revert" and count > 1:
        await store.call("revert_to_message", "chat", chance.randrange(count))
    elif kind == "undo":
        with suppress(NothingToUndoError):
            await store.call("undo_revert", "chat")
    elif kind == "clear":
        await store.call("clear_session", "chat")
    elif kind == "delete":
        await store.call("delete_session", "chat")
    elif kind == "snapshot" and count:
        await store.call("create_snapshot", "chat", "here")


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_known_is_what_is_stored(name: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    store = AwaitedStore(MAKERS[name](tmp_path))
    # Files and SQLite are changed by another process too, as far as this one can tell.
    other = store if "memory" in name else AwaitedStore(MAKERS[name](tmp_path))

    async def go() -> None:
        knowing = [(Window(limit), Known()) for limit in WINDOWS]
        for step in range(STEPS):
            if chance.random() < 0.3:
                added = [SessionMessage(role="user", content=f"own {step}") for _ in range(chance.randrange(1, 4))]
                await store.call("add_messages", "chat", added)
                for _, known in knowing:
                    known.own = added
            # Before the next reading, or in place of the reader's own messages.
            if chance.random() < 0.7:
                await change(chance.choice([store, other]), chance, step)
            for window, known in knowing:
                if chance.random() < 0.5:
                    wanted = await store.window("chat", window)
                    found = await store.window("chat", window, known)
                    assert found == wanted
                    again = await store.window("chat", window, known)
                    assert all(one is other for one, other in zip(again, found, strict=True)), "read anew, though nothing had changed"
        for each in {store, other}:
            await each.call("close")

    asyncio.run(go())


def test_what_the_reader_itself_appended_is_not_read(tmp_path: Path) -> None:
    store = AwaitedStore(DefaultSessionStore(tmp_path))

    async def go() -> None:
        known = Known()
        await store.call("add_messages", "chat", [{"role": "user", "content": "one"}])
        await store.window("chat", Window(5), known)
        known.own = own = [SessionMessage(role="user", content="own")]
        await store.call("add_messages", "chat", own)
        assert (await store.window("chat", Window(5), known))[-1] is own[0]
        known.own = own = [SessionMessage(role="user", content="own too")]
        await store.call("add_messages", "chat", own)
        await store.call("add_messages", "chat", [{"role": "user", "content": "another's"}])
        assert [message.content for message in await store.window("chat", Window(5), known)] == ["one", "own", "own too", "another's"]

    asyncio.run(go())
    store.store.close()


def test_a_reader_of_a_file_that_is_locked_does_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    store = AwaitedStore(DefaultSessionStore(tmp_path))
    writer = DefaultSessionStore(tmp_path)

    async def go() -> list[Any]:
        known = Known()
        await store.call("add_messages", "chat", [{"role": "user", "content": "one"}])
        await store.window("chat", Window(5), known)
        held, enough = threading.Event(), threading.Event()

        def hold() -> None:
            slot = writer.backend._sessions.hold("chat")  # type: ignore[attr-defined]
            held.set()
            enough.wait(30)
            writer.backend._sessions.release(slot)  # type: ignore[attr-defined]

        thread = threading.Thread(target=hold)
        thread.start()
        await asyncio.to_thread(held.wait, 30)
        reading = asyncio.create_task(store.window("chat", Window(5), known))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not reading.done()
        enough.set()
        read = await reading
        await asyncio.to_thread(thread.join)
        return read

    assert [message.content for message in asyncio.run(go())] == ["one"]
    store.store.close()
    writer.close()


def test_the_outcome_of_work_in_a_thread() -> None:
    async def go() -> None:
        assert await InThread(lambda a, b=0: a + b, 1, b=2) == 3
        with pytest.raises(KeyError):
            await InThread({}.__getitem__, "x")
        work = InThread(threading.current_thread)
        await asyncio.sleep(0.01)
        assert await work is not threading.current_thread()

    asyncio.run(go())


@pytest.mark.parametrize("fails", [False, True])
def test_work_that_is_cancelled_comes_to_its_end_first(fails: bool) -> None:
    going = threading.Event()
    ended: list[str] = []

    def work() -> str:
        going.wait(30)
        ended.append("yes")
        if fails:
            raise SessionError("no")
        return "done"

    async def go() -> None:
        task = asyncio.create_task(finished(InThread(work)))
        for _ in range(3):
            await asyncio.sleep(0.005)
            task.cancel()
        assert not task.done()
        going.set()
        with pytest.raises(SessionError if fails else asyncio.CancelledError):
            await task
        assert ended == ["yes"]

    asyncio.run(go())


def test_a_forked_child_has_threads_of_its_own() -> None:
    async def go() -> int:
        return await InThread(lambda: 7)

    assert asyncio.run(go()) == 7
    child = os.fork()
    if not child:
        os._exit(asyncio.run(go()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
