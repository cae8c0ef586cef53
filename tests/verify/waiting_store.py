"""A store over an engine that waits before and after each step and knows no transactions: a driver for event loops, at its worst."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from turnlog.backends.forking import put_fork_in_steps
from turnlog.backends.memory import MemoryBackend
from turnlog.backends.port import Backend, Forked, SharedRuns
from turnlog.heads import Head, Reference
from turnlog.store.aio import AsyncSessionStore


class WaitingBackend(MemoryBackend):
    """Each method of the port is atomic, and lets all others of the loop go first, twice. ``together`` promises nothing."""

    blocking = False

    def together(self, session_id: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def put_fork(self, child: Head, claim: Reference, *, shed: int, expect: Head | None = None) -> Forked:
        return await put_fork_in_steps(self, child, claim, shed=shed, expect=expect)


def _waiting(step: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def call(self: WaitingBackend, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        answer = await step(self, *args, **kwargs)
        await asyncio.sleep(0)
        return answer

    return call


for _protocol in (Backend, SharedRuns):
    for _name, _method in inspect.getmembers(_protocol, inspect.iscoroutinefunction):
        if _name not in vars(WaitingBackend):
            setattr(WaitingBackend, _name, _waiting(getattr(MemoryBackend, _name)))


class AsyncWaitingSessionStore(AsyncSessionStore):
    """The store of one process over that engine."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(WaitingBackend(), max_messages)
