"""What an agent's turn has produced so far: as pydantic-ai's messages, and as the messages that are kept and stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pydantic_ai import AgentRun
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, UserContent, UserPromptPart

from turnlog.integrations.pydantic_ai.messages import from_stored, to_stored
from turnlog.messages import SessionMessage
from turnlog.store.values import OpenTurn
from turnlog.turns import Turn

Prompt = str | Sequence[UserContent]

HEAD_START = 0.002
"""Seconds after which what was produced is kept while the model is asked: the request goes first, and nobody waits for the disk."""


class Produced:
    """The messages of a turn under way. ``before``: those that an interrupted turn had produced, where it is resumed."""

    def __init__(self, turn: Turn, prompt: Prompt | None, resumed: OpenTurn | None) -> None:
        self.before = whole_answers(from_stored(resumed.messages)) if resumed else []
        self.run: AgentRun[Any, Any] | None = None
        self._turn = turn
        self._prompt = prompt
        self._request: ModelRequest | None = None
        self._there = 0
        self._kept = 0
        self._due: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def model(self) -> str | None:
        """The name of the model that answered last."""
        return next((message.model_name for message in reversed(self.messages()) if isinstance(message, ModelResponse)), None)

    @property
    def ran_tools(self) -> bool:
        """Whether more than the prompt is there to be lost."""
        return any(isinstance(message, ModelResponse) for message in self.messages())

    def asking(self, request: ModelRequest) -> None:
        """The model is about to be sent ``request``, which the run does not tell of before it has been answered."""
        self._request = request
        self._there = len(self.run.new_messages()) if self.run else 0

    def answered(self) -> None:
        """The request is among the run's messages now."""
        self._request = None

    def messages(self, partial: ModelResponse | None = None) -> list[ModelMessage]:
        """The turn's messages, with an answer that is still being streamed."""
        if self.run is None:
            prompt = [ModelRequest(parts=[UserPromptPart(self._prompt)])] if self._prompt is not None else []
            return [*self.before, *prompt]
        fresh = list(self.run.new_messages())
        if self._request is not None:
            untold = len(fresh) == self._there
            if untold and (fresh or not self.before or isinstance(self.before[-1], ModelResponse)):
                fresh.append(self._request)
            if partial is not None and not (fresh and isinstance(fresh[-1], ModelResponse)):
                fresh.append(replace(partial, state="interrupted"))
        return [*self.before, *fresh]

    def stored(self, partial: ModelResponse | None = None) -> list[SessionMessage]:
        """The messages as they are stored: instructions belong to the agent, not to the conversation, and ids of runs say nothing."""
        plain: list[ModelMessage] = []
        for message in self.messages(partial):
            if isinstance(message, ModelRequest):
                plain.append(replace(message, instructions=None, run_id=None, conversation_id=None))
            else:
                plain.append(replace(message, run_id=None, conversation_id=None))
        return to_stored(plain, turn_id=self._turn.id)

    async def keep(self, partial: ModelResponse | None = None) -> None:
        """Keep the turn as far as it has come, so that it outlives this process; nothing where that is how it was kept last."""
        count = len(self.messages(partial))
        if partial is None and count == self._kept:
            return
        await self._turn.keep(self.stored(partial))
        # A draft grows without a further message.
        self._kept = count if partial is None else 0

    def keep_soon(self) -> None:
        """Begin to ``keep`` once the model has been asked; ``kept`` or ``settle`` must follow."""
        self._due = asyncio.get_running_loop().call_later(HEAD_START, self._begin)

    def _begin(self) -> None:
        self._keeping = asyncio.create_task(self.keep())

    async def kept(self, *, shown: bool = False) -> None:
        """Wait for what ``keep_soon`` began; raises what it raised. An answer that comes before that is kept or stored by itself, unless
        it is about to be ``shown``."""
        if self._due is None:
            return
        self._due.cancel()
        task, self._due, self._keeping = self._keeping, None, None
        if task is not None:
            await task
        elif shown:
            await self.keep()

    async def settle(self) -> None:
        """Wait until nothing is being kept, whatever comes of it, for a caller who is about to keep the turn in another state."""
        if self._due is not None:
            self._due.cancel()
        while self._keeping is not None and not self._keeping.done():
            # The caller has been cancelled already, or has another error to tell.
            with suppress(asyncio.CancelledError):
                await asyncio.wait([self._keeping])
        if self._keeping is not None and not self._keeping.cancelled():
            self._keeping.exception()


def whole_answers(messages: list[ModelMessage]) -> list[ModelMessage]:
    """The messages without what was cut off at their end: an answer, which is asked for again, or a group of tools, which run again."""
    while messages and messages[-1].state != "complete":
        messages = messages[:-1]
    return messages
