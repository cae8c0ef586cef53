"""The turns of a served agent: an agent for each request, on the session that it names or on none, one turn of a session at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

from turnlog.agent import Agent
from turnlog.messages import new_token
from turnlog.server.asking import Asked
from turnlog.server.tokens import session_key
from turnlog.session import AsyncInMemorySessionStore
from turnlog.session.awaiting import AwaitedStore


class Turns:
    """Gives each request its agent. ``store``: where sessions are; None: where the agent's own is, else the default store.

    ``wait``: the seconds a turn waits for one that another process runs on its session, where the agent's memory does not say.
    """

    def __init__(self, agent: Agent, store: Any = None, *, wait: float = 60.0) -> None:
        self.agent = agent
        self._store = AwaitedStore(agent.session_store if store is None else store)
        self._wait = (agent.memory.wait or wait) if self._store.full else 0.0
        self._queues: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._running: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def begin(self, asked: Asked, owner: str | None) -> AsyncIterator[Agent]:
        """The agent that answers, once every turn that was asked for earlier on its session has ended."""
        task = asyncio.current_task()
        assert task is not None, "a turn runs in a task"
        self._running.add(task)
        try:
            if asked.session_id is None:
                yield await self._apart(asked)
                return
            key = session_key(owner, asked.session_id)
            # Whoever waits or works holds its lock; one that nobody holds is gone.
            queue = self._queues.setdefault(key, asyncio.Lock())
            async with queue:
                yield self._on(key, asked, self._store, self._wait)
        finally:
            self._running.discard(task)

    async def _apart(self, asked: Asked) -> Agent:
        """The agent on a history that is kept nowhere."""
        store = AsyncInMemorySessionStore()
        name = new_token()
        if asked.history:
            await store.add_messages(name, list(asked.history))
        return self._on(name, asked, AwaitedStore(store), 0.0)

    def _on(self, key: str, asked: Asked, store: AwaitedStore, wait: float) -> Agent:
        return self.agent.on_session(key, store=store, user_id=asked.user_id, wait=wait, instructions=asked.instructions)

    async def close(self) -> None:
        """Wait for the turns that have not ended, and close what was opened."""
        while self._running:
            await asyncio.wait(self._running)
        await self._store.close()
        await self.agent.aclose()
