"""The event loop in which plain calls of an agent run: one thread a process, so that connections are kept between calls."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_guard = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner: tuple[int, threading.Thread] | None = None


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The outcome of the coroutine that ``work`` makes, run in the loop's thread; the caller's own thread may have a loop or not.

    If the caller is interrupted (Ctrl-C), the coroutine is cancelled and has ended before the interruption goes on.
    """
    task = _Task(_running(), work)
    try:
        return task.outcome.result()
    except BaseException:
        task.cancel()
        raise


def iterate(make: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
    """The items of an async iterator that runs in the loop's thread. Ending the iteration early cancels it."""
    items = make()

    async def following() -> tuple[T] | None:
        async for item in items:
            return (item,)
        return None

    async def end() -> None:
        await items.aclose()

    try:
        while (found := run(following)) is not None:
            yield found[0]
    finally:
        run(end)


class _Task(Generic[T]):
    """A coroutine in the loop's thread. Its outcome is there once it has really ended, also when it was cancelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.outcome: Future[T] = Future()
        self._loop = loop
        self._task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._begin, work)

    def cancel(self) -> None:
        """End it, and wait for its end; nothing where it has ended."""
        if not self.outcome.done():
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
            self.outcome.exception()

    def _begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._task = self._loop.create_task(work())
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.outcome.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


def _running() -> asyncio.AbstractEventLoop:
    """The loop, for a caller who is going to wait for it. Raises RuntimeError where that would be the loop itself."""
    global _loop, _owner
    if _owner is not None and threading.current_thread() is _owner[1]:
        raise RuntimeError("this would wait for itself: in an async tool of an agent await the async form (achat, astart, astream, …)")
    with _guard:
        # A forked child has the loop's object, but not its thread.
        if _loop is None or _owner is None or _owner[0] != os.getpid():
            _loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_loop.run_forever, name="turnlog-agent", daemon=True)
            _owner = (os.getpid(), thread)
            thread.start()
        return _loop
