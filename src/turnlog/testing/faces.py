"""A sync face for any store: an async store's methods run on an event loop of its own, so that cases are written once."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Any

from turnlog.protocols import FIVE_METHODS, is_async


class Loop:
    """An event loop in a thread; threads of a case hand it their calls, which then run as tasks side by side."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def run(self, call: Callable[[], Any]) -> Any:
        """The result of ``call()`` made on the loop, awaited if it can be."""
        return self.submit(call).result()

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Begin ``call()`` on the loop."""

        async def settle() -> Any:
            result = call()
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(settle(), self._running())

    def close(self) -> None:
        """Stop the loop; a loop that a store blocks is left to its daemon thread."""
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._loop.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        # Begun at the first call: the cases of a sync store need no loop.
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="turnlog-testing-loop", daemon=True)
                self._thread.start()
            return self._loop


class SyncFace:
    """The store with every coroutine method run to its end on the loop, and async iterators turned into plain ones."""

    def __init__(self, store: Any, loop: Loop) -> None:
        self._store = store
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            result = self._loop.run(lambda: value(*args, **kwargs))
            return self._plain(result) if hasattr(result, "__anext__") else result

        return call

    def _plain(self, source: AsyncIterator[Any]) -> Iterator[Any]:
        end = object()

        async def advance() -> Any:
            return await anext(source, end)

        while (item := self._loop.run(advance)) is not end:
            yield item


def declared_async(store: object) -> list[bool]:
    """For each of the five methods in order, whether it is declared as a coroutine function."""
    return [is_async(getattr(store, name, None)) for name in FIVE_METHODS]


def returned_async(store: Any, loop: Loop) -> list[bool]:
    """For each of the five methods in order, whether a call gives something to await. Writes to the store: use a fresh one."""
    calls = [
        lambda: store.add_message("probe", "user", "probe"),
        lambda: store.get_chat_history("probe"),
        lambda: store.clear_session("probe"),
        lambda: store.delete_session("probe"),
        lambda: store.session_exists("probe"),
    ]
    return [loop.run(lambda call=call: _is_awaitable(call)) for call in calls]  # type: ignore[misc]


async def _is_awaitable(call: Callable[[], Any]) -> bool:
    result = _attempt(call)
    if not inspect.isawaitable(result):
        return False
    await asyncio.gather(result, return_exceptions=True)
    return True


def _attempt(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001  # what a broken method raises is for its own case; here only the answer's shape counts
        return error
