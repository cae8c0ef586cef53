"""One turn of an agent over pydantic-ai's loop: read the history, run, keep what was produced on the way, land it whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic_ai import Agent as Loop
from pydantic_ai import AgentRun
from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta

from turnlog.agent.memory import Memory
from turnlog.agent.produced import Produced, Prompt
from turnlog.agent.summary import Summaries
from turnlog.integrations.pydantic_ai.messages import Rebuilt
from turnlog.session.awaiting import AwaitedStore, Known
from turnlog.store.values import OpenTurn
from turnlog.trim import Window
from turnlog.turns import Turn

Emit = Callable[[str], Awaitable[None]]

DRAFT_EVERY = 0.25
"""Seconds between two times that a streamed answer is kept as far as it has come."""


@dataclass(frozen=True, slots=True)
class TurnResult:
    """What a turn came to. Tokens are those of all its model calls."""

    output: Any
    """The answer: text, or a value of the agent's ``output_type``."""
    turn_id: str
    model: str | None
    input_tokens: int
    output_tokens: int
    seconds: float
    is_first: bool = False
    """Whether there was no history that the turn could follow."""


class Runner:
    """Runs turns of one agent on one session."""

    def __init__(
        self,
        loop: Loop[Any, Any],
        store: AwaitedStore,
        session_id: str,
        memory: Memory,
        *,
        usage_limits: Any,
        instructions: str | None,
        timeout: float | None,
        keeps: bool = True,
    ) -> None:
        self._loop = loop
        self._store = store
        self._memory = memory
        self._session_id = session_id
        self._usage_limits = usage_limits
        self._instructions = instructions
        self._timeout = timeout
        self._keeps = keeps
        self._known = Known()
        self._rebuilt = Rebuilt()

    async def run(
        self, prompt: Prompt | None, resumed: OpenTurn | None = None, *, emit: Emit | None = None, turn_id: str | None = None
    ) -> TurnResult:
        """A turn to its end: the prompt's, or an interrupted one's. ``emit`` is given the answer's text as it comes.

        Whatever ends it early leaves the history as it was, and an interrupted turn.
        """
        # Where summaries are on, they decide what is read.
        window = Window(1, from_user=True) if self._memory.summarize else self._memory.window()
        turn = Turn(self._store, self._session_id, form="chat", window=window, wait=self._memory.wait, known=self._known)
        turn.keeps = self._keeps
        turn.id = turn_id or turn.id
        await turn.begin(resumed)
        produced = Produced(turn, prompt, resumed)
        try:
            summary, history = await Summaries(self._store, self._session_id, self._memory, self._rebuilt).history(turn.stored)
            given = [*history, *produced.before]
            async with (
                asyncio.timeout(self._timeout),
                self._loop.iter(prompt, message_history=given, usage_limits=self._usage_limits, instructions=self._instructions) as run,
            ):
                produced.run = run
                await self._go(run, produced, emit)
            assert run.result is not None, "the loop ends with a result or with an error"
            usage, model = run.usage, produced.model
            tokens = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
            turn.note |= {"model": model, **tokens} if model else tokens
            turn.added += [*([summary] if summary else []), *produced.stored()]
            seen = self._known.seen
            await turn.land()
            if self._known.seen is seen and turn_id is None and resumed is None:
                # Of an id that was used before the messages may have been there already; after another read, too.
                self._known.own = turn.added
        except BaseException as error:
            await produced.settle()
            if not turn.landed:
                await turn.interrupt(type(error).__name__, produced.stored())
            raise
        return TurnResult(run.result.output, turn.id, model, **tokens, seconds=turn.note["seconds"], is_first=not turn.stored)

    async def stream(
        self, prompt: Prompt | None, done: Callable[[TurnResult], None], *, turn_id: str | None = None
    ) -> AsyncGenerator[str, None]:
        """The text of a turn's answer as it comes; its result goes to ``done``. Ending the iteration early interrupts the turn."""
        # The turn runs no further ahead than one piece: where the iteration ends early, so does the turn.
        pieces: asyncio.Queue[str] = asyncio.Queue(maxsize=1)
        # A task of its own: the loop's scopes must be left by the task that entered them, whoever ends the iteration.
        task = asyncio.create_task(self.run(prompt, emit=pieces.put, turn_id=turn_id))
        taking = asyncio.create_task(pieces.get())
        try:
            while True:
                await asyncio.wait([task, taking], return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    break
                yield taking.result()
                taking = asyncio.create_task(pieces.get())
            done(await task)
        finally:
            left: list[asyncio.Task[Any]] = [each for each in (task, taking) if not each.done()]
            for each in left:
                each.cancel()
            if left:
                await asyncio.wait(left)

    async def _go(self, run: AgentRun[Any, Any], produced: Produced, emit: Emit | None) -> None:
        async for node in run:
            await produced.kept()
            if Loop.is_model_request_node(node):
                produced.asking(node.request)
                if produced.ran_tools:
                    # What they answered must outlive a crash amid the answer: they are not to run again.
                    await produced.keep()
                else:
                    produced.keep_soon()
                if emit is not None:
                    async with node.stream(run.ctx) as events:
                        kept = time.monotonic()
                        async for event in events:
                            await produced.kept(shown=True)
                            if text := _text_of(event):
                                await emit(text)
                            if time.monotonic() - kept > DRAFT_EVERY:
                                await produced.keep(events.response)
                                kept = time.monotonic()
            elif Loop.is_call_tools_node(node):
                produced.answered()
                if node.model_response.tool_calls:
                    # Before the tools run; without them the turn lands now.
                    await produced.keep()


def _text_of(event: Any) -> str:
    """The text that an event adds to what the user is shown."""
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    return ""
