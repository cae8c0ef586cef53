"""The turns of a served agent: an agent for each request, on the session that it names or on none, one turn of a session at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from pydantic_ai.messages import ModelRequest, UserPromptPart

from turnlog.agent import Agent, TurnResult
from turnlog.agent.stored import result_of, stored_turn
from turnlog.errors import ConflictError
from turnlog.integrations.pydantic_ai.messages import to_stored
from turnlog.messages import new_token
from turnlog.server.asking import Asked
from turnlog.server.refusals import Refused
from turnlog.server.tokens import session_key
from turnlog.session import AsyncInMemorySessionStore
from turnlog.session.awaiting import AwaitedStore

LOOKED_AT = 256
"""Messages at the end of a session among which an answer is looked for that a request with the same key had."""


@dataclass(slots=True)
class OneTurn:
    """The turn of one request: run by ``agent``, or stored already, if the request was sent before with the same key."""

    agent: Agent
    asked: Asked
    store: AwaitedStore
    key: str
    result: TurnResult | None = None
    """What it came to, in the end."""

    async def run(self) -> TurnResult:
        """The turn to its end. Raises what ``Agent.achat`` raises, and Refused for a key of another request."""
        self.result = await self._before(LOOKED_AT)
        if self.result is None:
            try:
                await self.agent.achat(self.asked.prompt, turn_id=self.asked.turn_id)
                self.result = self.agent.last_turn
            except ConflictError:
                self.result = await self._of_another()
                if self.result is None:
                    raise
        assert self.result is not None, "a turn that ended has a result"
        return self.result

    async def stream(self) -> AsyncGenerator[str, None]:
        """The answer's text as it comes; of a turn that is stored, ``result`` has it. Raises as ``run``."""
        self.result = await self._before(LOOKED_AT)
        if self.result is None:
            try:
                async with aclosing(self.agent.astream(self.asked.prompt, turn_id=self.asked.turn_id)) as pieces:
                    async for piece in pieces:
                        yield piece
            except ConflictError:
                # The client was shown another answer than the one that is stored: it has to ask again.
                await self._of_another()
                raise
            self.result = self.agent.last_turn

    async def _before(self, among: int) -> TurnResult | None:
        """What the turn came to, if it is stored."""
        turn_id = self.asked.turn_id
        if turn_id is None or not (turn := await stored_turn(self.store, self.key, turn_id, among)):
            return None
        [prompt] = to_stored([ModelRequest(parts=[UserPromptPart(self.asked.prompt)])], turn_id=turn_id)
        if prompt.content not in [message.content for message in turn if message.role == "user"]:
            raise Refused(422, "idempotency_key_reused", "the Idempotency-Key is another request's: send each message with one of its own")
        return result_of(turn_id, turn)

    async def _of_another(self) -> TurnResult | None:
        """What the turn came to where another server was at work on it too, and was first; what is kept of this attempt is dropped."""
        result = await self._before(0)
        if result is not None:
            await self.store.finish("drop_open_turn", self.key, self.asked.turn_id)
        return result


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
    async def begin(self, asked: Asked, owner: str | None) -> AsyncIterator[OneTurn]:
        """The request's turn, once every turn that was asked for earlier on its session has ended."""
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

    async def _apart(self, asked: Asked) -> OneTurn:
        """A turn on a history that is kept nowhere."""
        store = AsyncInMemorySessionStore()
        name = new_token()
        if asked.history:
            await store.add_messages(name, list(asked.history))
        return self._on(name, asked, AwaitedStore(store), 0.0)

    def _on(self, key: str, asked: Asked, store: AwaitedStore, wait: float) -> OneTurn:
        agent = self.agent.on_session(key, store=store, user_id=asked.user_id, wait=wait, instructions=asked.instructions)
        return OneTurn(agent, asked, store, key)

    async def close(self) -> None:
        """Wait for the turns that have not ended, and close what was opened."""
        while self._running:
            await asyncio.wait(self._running)
        await self._store.close()
        await self.agent.aclose()
