"""Any store behind one set of coroutines: sync ones in worker threads or directly, async ones awaited, URLs opened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from turnlog.messages import SessionMessage
from turnlog.session.adapt import AsyncAdaptedStore, adapt_store
from turnlog.session.opening import open_async_store, open_store
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore
from turnlog.trim import Window

FIRST_READ = 64
"""Messages read at first where no number was given but a token budget."""


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
            return await asyncio.to_thread(method, *args, **kwargs)
        return method(*args, **kwargs)

    async def finish(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """``call`` for a write: if the caller is cancelled meanwhile, CancelledError comes after its outcome, so nobody has to guess."""
        if not (self.waits or self.threads):
            return await self.call(verb, *args, **kwargs)
        task = asyncio.ensure_future(self.call(verb, *args, **kwargs))
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

    async def pause(self, seconds: float) -> None:
        """Let others work."""
        if self.waits or self.threads:
            await asyncio.sleep(seconds)
        else:
            time.sleep(seconds)  # noqa: ASYNC251  # driven in plain Python: there is no event loop to hold up

    async def window(self, session_id: str, window: Window) -> list[SessionMessage]:
        """The newest messages that ``window`` lets through, with ids and metadata; always a valid history."""
        limit = window.limit or getattr(self.store, "max_messages", None)
        take = limit + 1 if limit else FIRST_READ if window.budget is not None else None
        while True:
            stored: Sequence[SessionMessage] = await self.call("get_messages", session_id, -take if take else 0, None)
            records = [message.record for message in stored]
            decided = window.of_suffix(records, whole=take is None or len(stored) < take)
            if decided is not None:
                # The window gives the very objects it was given.
                wanted = {id(record) for record in decided}
                return [message for message in stored if id(message.record) in wanted]
            take = 2 * (take or 1)

    async def close(self) -> None:
        """Close the store if it was opened here."""
        if self._owned:
            await self.call("close")
