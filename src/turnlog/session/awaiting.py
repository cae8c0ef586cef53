"""Any store behind one set of coroutines: sync ones in worker threads or directly, async ones awaited, URLs opened."""

from __future__ import annotations

import asyncio
import contextvars
import os
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, TypeVar

from turnlog.heads import Head
from turnlog.messages import SessionMessage
from turnlog.session.adapt import AsyncAdaptedStore, adapt_store
from turnlog.session.opening import open_async_store, open_store
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.changing import Changing
from turnlog.store.core import Core
from turnlog.store.drive import drive, verb
from turnlog.store.reading import last
from turnlog.store.sync import SessionStore
from turnlog.trim import Window

T = TypeVar("T")

FIRST_READ = 64
"""Messages read at first where no number was given but a token budget."""
FEW = 100
"""Messages up to which they may be read in the event loop's own thread."""
KNOWN = 1_000
"""Messages that stay known at most."""


class InThread(Generic[T]):
    """Work in a thread, under way at once, for an event loop to wait for.

    As ``asyncio.to_thread`` at half its cost, and whoever is cancelled while he waits can still learn what came of it.
    """

    __slots__ = ("_done", "_error", "_loop", "_result", "_waiting")

    def __init__(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._done = False
        self._error: BaseException | None = None
        _threads().submit(self._run, partial(contextvars.copy_context().run, work, *args, **kwargs))

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._result = work()
        except BaseException as error:  # noqa: BLE001  # it is raised where the outcome is waited for
            self._error = error
        self._loop.call_soon_threadsafe(self._ended)

    def _ended(self) -> None:
        self._done = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done:
            self._waiting = self._loop.create_future()
            yield from self._waiting
        try:
            if self._error is not None:
                raise self._error
            return self._result
        finally:
            # The error's traceback leads here: a circle would keep its frames until the garbage collector comes.
            self._error = None

    async def ended(self) -> bool:
        """Wait for its end; gives whether the caller was cancelled meanwhile, and then has to raise CancelledError."""
        cancelled = False
        while not self._done:
            self._waiting = self._loop.create_future()
            try:
                await self._waiting
            except asyncio.CancelledError:
                cancelled = True
        return cancelled


_pool: ThreadPoolExecutor | None = None


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(thread_name_prefix="turnlog")
    return _pool


def _forget_threads() -> None:
    # A forked child has none of its parent's threads.
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class Known:
    """The end of one session's history as it was read last, so that only what was added since is read.

    The messages it gives are the same objects again, for readers that change nothing of them.
    """

    def __init__(self) -> None:
        self.seen: tuple[tuple[object, ...], int, list[SessionMessage]] = ((), 0, [])
        """Where the history lay, how many messages it had, and its last ones."""
        self.own: list[SessionMessage] = []
        """What the reader itself has appended since, at once. Where the history has grown by no more than that, nothing is read."""


@verb
async def _newest(store: Core, session_id: str, number: int | None, known: Known) -> list[SessionMessage]:
    """The last ``number`` messages of a session (None: all)."""
    line, stop, messages = known.seen
    own, known.own = known.own, []

    def unread(count: int) -> tuple[int, int]:
        nonlocal stop, messages, own
        if own and count == stop + len(own):
            stop, messages, own = count, [*messages, *own], []
        low, _ = last(number, count)
        return (stop if stop - len(messages) <= low <= stop <= count else low), count

    found = await store._read(session_id, unread if line else partial(last, number))
    if line and found is not None and _line(found[0]) != line:
        # Reverted, cleared, cut or never read before: nothing of what is known need be in it.
        messages = []
        found = await store._read(session_id, partial(last, number))
    if found is None:
        return []
    head, records = found
    low, count = last(number, head.count)
    older = messages[len(messages) - (count - low - len(records)) :] if len(records) < count - low else []
    whole = [*older, *map(SessionMessage.from_record, records)]
    known.seen = (_line(head), count, whole[-KNOWN:])
    return whole


@verb
async def _changed(store: Changing, session_id: str, edit: Callable[[Head], Head]) -> Head:
    async def change(head: Head) -> Head:
        return edit(head)

    _, after = await store._change(session_id, change, create=True)
    return after


def _line(head: Head) -> tuple[object, ...]:
    """Where a history lies, but for its end: as long as that is the same, messages have only been added."""
    return head.run, head.path, head.past, head.tail, head.shed


class AwaitedStore:
    """The store's verbs as coroutines.

    ``store``: a turnlog store, sync or async; an object with the five methods; a URL; or None for the default store. With
    ``threads`` a sync store works in worker threads, so that no event loop waits for it; without, its coroutines never suspend and
    may be driven. ``full`` says whether it is more than five methods. ``close`` closes what was opened here; what was handed over
    stays open.
    """

    def __init__(self, store: Any = None, *, threads: bool = True) -> None:
        named = store is None or isinstance(store, str)
        opened = (open_async_store if threads else open_store)(store) if named else None
        self.store = opened if opened is not None else adapt_store(store)
        self.full = isinstance(self.store, SessionStore | AsyncSessionStore)
        self.waits = isinstance(self.store, AsyncSessionStore | AsyncAdaptedStore)
        self._owned = named
        self.threads = threads

    async def call(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """The outcome of a verb."""
        method: Callable[..., Any] = getattr(self.store, verb)
        if self.waits:
            return await method(*args, **kwargs)
        if self.threads:
            return await InThread(method, *args, **kwargs)
        return method(*args, **kwargs)

    async def finish(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """``call`` for a write: if the caller is cancelled meanwhile, CancelledError comes after its outcome, so nobody has to guess."""
        method: Callable[..., Any] = getattr(self.store, verb)
        if self.waits:
            return await finished(method(*args, **kwargs))
        if self.threads:
            return await finished(InThread(method, *args, **kwargs))
        return method(*args, **kwargs)

    async def change(self, session_id: str, edit: Callable[[Head], Head]) -> Head:
        """The head as ``edit`` made it, by compare-and-set, as ``finish``; ``edit`` is called again if somebody was faster.

        For a full store, where a decision goes by more than the metadata that ``edit_session_metadata`` shows. The session comes to be if
        it was not there; the same head back means: nothing to do.
        """
        if isinstance(self.store, SessionStore):
            core: Changing = self.store._core
            return await finished(InThread(lambda: drive(_changed(core, session_id, edit))))
        return await finished(_changed(self.store, session_id, edit))

    async def pause(self, seconds: float) -> None:
        """Let others work."""
        if self.waits or self.threads:
            await asyncio.sleep(seconds)
        else:
            time.sleep(seconds)  # noqa: ASYNC251  # driven in plain Python: there is no event loop to hold up

    async def window(self, session_id: str, window: Window, known: Known | None = None) -> list[SessionMessage]:
        """The newest messages that ``window`` lets through, with ids and metadata; always a valid history.

        ``known``: those that were read before; a full store then gives the very same objects for them.
        """
        limit = window.limit or getattr(self.store, "max_messages", None)
        take = limit + 1 if limit else FIRST_READ if window.budget is not None else None
        while True:
            stored = await self._last(session_id, take, known)
            records = [message.record for message in stored]
            decided = window.of_suffix(records, whole=take is None or len(stored) < take)
            if decided is not None:
                # The window gives the very objects it was given.
                wanted = {id(record) for record in decided}
                return [message for message in stored if id(message.record) in wanted]
            take = 2 * (take or 1)

    async def _last(self, session_id: str, number: int | None, known: Known | None) -> Sequence[SessionMessage]:
        if known is None or not self.full:
            stored: Sequence[SessionMessage] = await self.call("get_messages", session_id, -number if number else 0, None)
            return stored
        if isinstance(self.store, SessionStore):
            core: Core = self.store._core
            found = self._at_once(core, session_id, number, known)
            return await InThread(lambda: drive(_newest(core, session_id, number, known))) if found is None else found
        found = self._at_once(self.store._direct, session_id, number, known)
        return await _newest(self.store, session_id, number, known) if found is None else found

    def _at_once(self, core: Core | None, session_id: str, number: int | None, known: Known) -> list[SessionMessage] | None:
        """What ``_newest`` gives, where that is so quick that no thread is worth it; else None."""
        at_once = getattr(core.backend, "at_once", None) if core is not None else None
        if core is None or at_once is None or number is None or number > FEW:
            return None
        with at_once(session_id) as held:
            return drive(_newest(core, session_id, number, known)) if held else None

    async def close(self) -> None:
        """Close the store if it was opened here."""
        if self._owned:
            await self.call("close")


async def finished(work: Awaitable[T]) -> T:
    """The outcome of ``work``. If the caller is cancelled meanwhile, CancelledError comes after it; an error of the work comes first."""
    if isinstance(work, InThread):
        cancelled = await work.ended()
        outcome: T = await work
    else:
        task = asyncio.ensure_future(work)
        cancelled = False
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                cancelled = True
        outcome = task.result()
    if cancelled:
        raise asyncio.CancelledError
    return outcome
