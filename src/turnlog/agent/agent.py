"""Agent: pydantic-ai's loop, with a conversation that persists and resumes by itself. Imports no model library before the first turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from turnlog.agent import loop
from turnlog.agent.conversation import Conversation
from turnlog.agent.memory import Memory
from turnlog.messages import new_token
from turnlog.session.awaiting import AwaitedStore

if TYPE_CHECKING:
    from pydantic_ai import Agent as Loop

    from turnlog.agent.produced import Prompt
    from turnlog.agent.running import Runner, TurnResult
    from turnlog.store.values import OpenTurn


class Agent:
    """An agent over a session.

    ``name`` is noted with the session. ``instructions`` (or ``role``, ``goal`` and ``backstory``) go to the model with every request
    and are never stored. ``llm``: a pydantic-ai model or its string, the URL of an OpenAI-compatible server, or None for what the
    environment names (see ``choose_model``). ``tools``: functions, pydantic-ai tools and toolsets, MCP servers among them. ``memory``:
    a Memory or a dict of its fields. ``session_store`` is ``memory["store"]`` under another name. ``output_type``, ``retries``,
    ``model_settings`` and ``usage_limits`` are pydantic-ai's; ``timeout`` is the seconds a turn may take.

    Plain and async calls may be mixed. One turn of an agent runs at a time on a session as far as ``memory["wait"]`` says; turns never
    interleave in any case. Raises ImportError without the extra ``agent``, and TypeError for options that it does not have.
    """

    def __init__(
        self,
        name: str = "Agent",
        instructions: str | None = None,
        llm: Any = None,
        tools: Sequence[Any] = (),
        memory: Memory | Mapping[str, Any] | bool | None = None,
        *,
        role: str | None = None,
        goal: str | None = None,
        backstory: str | None = None,
        session_store: Any = None,
        base_url: str | None = None,
        api_key: str | None = None,
        output_type: Any = str,
        retries: int | None = None,
        model_settings: Any = None,
        usage_limits: Any = None,
        timeout: float | None = None,
    ) -> None:
        if find_spec("pydantic_ai") is None:
            raise ImportError("an Agent needs pydantic-ai: pip install 'turnlog[agent]'")
        self.name = name
        self.memory = Memory.of(memory)
        self.last_turn: TurnResult | None = None
        """What the last turn came to: output, model, tokens, seconds."""
        if session_store is not None and self.memory.store is not None:
            raise TypeError("the store was passed twice: as session_store and as memory['store']; pass it once")
        parts = [instructions, role and f"Your role: {role}", goal and f"Your goal: {goal}", backstory and f"Your background: {backstory}"]
        self._instructions = "\n".join(part for part in parts if part) or None
        self._model = (llm, base_url, api_key)
        self._tools = list(tools)
        self._options = {"output_type": output_type, "retries": retries, "model_settings": model_settings}
        self._usage_limits = usage_limits
        self._timeout = timeout
        self._further: str | None = None
        self._keeps = True
        self._noted = False
        chosen = self.memory.store if session_store is None else session_store
        self.session_store = chosen
        """The store that was handed over, or its URL; None where none was."""
        if self.memory.session_id is None:
            from turnlog.session import AsyncInMemorySessionStore

            chosen = AsyncInMemorySessionStore()
        self._store = AwaitedStore(chosen)
        self.session_id = self.memory.session_id or new_token()
        """The session that the agent continues. Without one in ``memory``, a random one that is never written."""
        self._runners: dict[asyncio.AbstractEventLoop, Runner] = {}
        self._loops: dict[asyncio.AbstractEventLoop, Loop[Any, Any]] = {}

    @property
    def session(self) -> Conversation:
        """The conversation: its messages, what it has taken, its interrupted turns."""
        return Conversation(self._store, self.session_id)

    @property
    def chat_history(self) -> list[dict[str, Any]]:
        """The conversation as a model takes it."""
        return self.session.history()

    def __repr__(self) -> str:
        return f"Agent(name={self.name!r}, session_id={self.session_id!r})"

    # Turns ----------------------------------------------------------------------------------------------------------------------

    async def achat(self, prompt: Prompt, *, turn_id: str | None = None) -> Any:
        """One turn: the answer to ``prompt`` (text, or a list of text and pydantic-ai's images and files), once the turn is stored.

        The model is sent the history first. If the call fails or is cancelled, the history stays as it was, and what had been produced is
        kept as an interrupted turn (``session.interrupted()``). ``turn_id`` makes a retry safe: of several turns with the same, a full
        store keeps the first, and the others raise ConflictError; their messages' ids are ``<turn_id>-0``, ``<turn_id>-1``, … Raises
        what the model, a tool or the store raised, TimeoutError, and ModelNotConfiguredError.
        """
        return await self._turn(prompt, turn_id=turn_id)

    async def astart(self, prompt: Prompt) -> Any:
        """``achat`` under its other name."""
        return await self._turn(prompt)

    async def astream(self, prompt: Prompt, *, turn_id: str | None = None) -> AsyncGenerator[str, None]:
        """One turn, giving the answer's text as it comes; the turn is stored when the iteration has ended.

        As it comes, the answer is kept as a draft that outlives the process. Ending the iteration early interrupts the turn. ``turn_id``
        as in ``achat``.
        """
        pieces = self._ready().stream(prompt, self._took, turn_id=turn_id)
        try:
            async for piece in pieces:
                yield piece
        finally:
            # At once, and not when the garbage collector comes by.
            await pieces.aclose()
        await self._note()

    async def aresume(self, turn_id: str | None = None) -> Any:
        """Take an interrupted turn (None: the newest) to its end and return its answer. Raises LookupError if there is none."""
        return await self._turn(None, await self.session.interrupted_turn(turn_id))

    def chat(self, prompt: Prompt) -> Any:
        """``achat`` for plain Python."""
        return loop.run(lambda: self.achat(prompt))

    def start(self, prompt: Prompt, *, stream: bool = False) -> Any:
        """``chat`` under its other name; with ``stream=True`` what ``stream`` gives."""
        return self.stream(prompt) if stream else self.chat(prompt)

    def stream(self, prompt: Prompt) -> Iterator[str]:
        """``astream`` for plain Python."""
        return loop.iterate(lambda: self.astream(prompt))

    def resume(self, turn_id: str | None = None) -> Any:
        """``aresume`` for plain Python."""
        return loop.run(lambda: self.aresume(turn_id))

    def on_session(
        self,
        session_id: str,
        *,
        store: Any = None,
        user_id: str | None = None,
        wait: float | None = None,
        instructions: str | None = None,
        keep: bool = True,
    ) -> Agent:
        """An agent like this one on another session, for whoever serves many: all that is not of a session is shared, and costs nothing.

        ``store``: where the session is, as ``memory["store"]`` or opened already; None: in this agent's store. ``user_id``: None for
        this agent's. ``wait``: as ``memory["wait"]``; None: this agent's. ``instructions`` follow this agent's own. With ``keep=False``
        nothing is kept of its turns before they land, so that none can be resumed, unless others are to wait for them. Nothing is opened
        or read; a store that was opened here stays with the agent that opened it.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.session_id = session_id
        waits = self.memory.wait if wait is None else wait
        twin.memory = replace(self.memory, session_id=session_id, user_id=user_id or self.memory.user_id, wait=waits)
        twin._further = instructions
        twin._keeps = keep
        if store is not None:
            twin._store = store if isinstance(store, AwaitedStore) else AwaitedStore(store)
        twin.last_turn = None
        twin._noted = False
        twin._runners = {}
        return twin

    # The tree -------------------------------------------------------------------------------------------------------------------

    async def afork(self, message_index: int | None = None, session_id: str | None = None, *, llm: Any = None) -> Agent:
        """A new agent like this one, or with another model, on a fork of the session.

        It forks after message ``message_index`` (inclusive; None: after the last; -1: before the first). Raises
        SessionNotFoundError, MessageIndexError, ConflictError if ``session_id`` is taken.
        """
        child = session_id or new_token()
        if message_index == -1:
            # With five methods a session comes to be by its first message.
            if self._store.full:
                await self._store.call("create_session", child, parent_id=self.session_id)
        else:
            await self._store.call("fork_session", self.session_id, message_index, new_session_id=child)
        return self._on(child, llm)

    async def arevert(self, message_index: int) -> None:
        """Take the session back to message ``message_index`` (inclusive); ``session.undo()`` takes that back. Raises MessageIndexError."""
        await self._store.call("revert_to_message", self.session_id, message_index)

    async def aedit(self, message_index: int, prompt: Prompt) -> Agent:
        """Edit and regenerate: a fork that ends before message ``message_index``, where ``prompt`` is asked instead. Its ``last_turn`` has
        the answer; this agent's session stays as it is."""
        edited = await self.afork(message_index - 1)
        await edited.achat(prompt)
        return edited

    def fork(self, message_index: int | None = None, session_id: str | None = None, *, llm: Any = None) -> Agent:
        """``afork`` for plain Python."""
        return loop.run(lambda: self.afork(message_index, session_id, llm=llm))

    def revert(self, message_index: int) -> None:
        """``arevert`` for plain Python."""
        loop.run(lambda: self.arevert(message_index))

    def edit(self, message_index: int, prompt: Prompt) -> Agent:
        """``aedit`` for plain Python."""
        return loop.run(lambda: self.aedit(message_index, prompt))

    def clear_history(self) -> None:
        """Erase the messages of the session."""
        loop.run(lambda: self._store.call("clear_session", self.session_id))

    def prepare(self) -> None:
        """Make, in the event loop at work, what turns here and of ``on_session``'s agents share, so that the first does not wait for it.

        Raises ModelNotConfiguredError and whatever else is wrong with model and tools.
        """
        self._ready()

    async def aclose(self) -> None:
        """Close the store, if the agent opened it by its URL or as the default one. Idempotent; the agent is then done."""
        await self._store.close()

    def close(self) -> None:
        """``aclose`` for plain Python."""
        loop.run(self.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Inside ---------------------------------------------------------------------------------------------------------------------

    async def _turn(self, prompt: Prompt | None, resumed: OpenTurn | None = None, *, turn_id: str | None = None) -> Any:
        result = await self._ready().run(prompt, resumed, turn_id=turn_id)
        self._took(result)
        await self._note()
        # Not last_turn's: meanwhile another of this agent's turns may have ended.
        return result.output

    def _took(self, result: TurnResult) -> None:
        self.last_turn = result
        if result.is_first:
            # Of a session that was erased what was noted is gone, too.
            self._noted = False

    async def _note(self) -> None:
        """Note agent and user with the session, once; on five methods there is no place for it."""
        if not self._noted and self._store.full:
            await self._store.call("set_agent_info", self.session_id, self.name, self.memory.user_id)
        self._noted = True

    def _ready(self) -> Runner:
        """The runner for the event loop at work: a model's connections belong to the loop in which they were made."""
        here = asyncio.get_running_loop()
        if here not in self._runners:
            from turnlog.agent.running import Runner

            if here not in self._loops:
                # In place: agents like this one on other sessions share it.
                for gone in [loop for loop in self._loops if loop.is_closed()]:
                    del self._loops[gone]
                self._loops[here] = self._loop()
            runner = Runner(
                self._loops[here],
                self._store,
                self.session_id,
                self.memory,
                usage_limits=self._usage_limits,
                instructions=self._further,
                timeout=self._timeout,
                keeps=self._keeps,
            )
            self._runners = {loop: one for loop, one in self._runners.items() if not loop.is_closed()} | {here: runner}
        return self._runners[here]

    def _loop(self) -> Loop[Any, Any]:
        from pydantic_ai import Agent as Loop
        from pydantic_ai.toolsets import AbstractToolset

        from turnlog.agent.models import choose_model

        llm, base_url, api_key = self._model
        toolsets = [tool for tool in self._tools if isinstance(tool, AbstractToolset)]
        tools = [tool for tool in self._tools if not isinstance(tool, AbstractToolset)]
        model = choose_model(llm, base_url=base_url, api_key=api_key)
        return Loop(model, name=self.name, instructions=self._instructions, tools=tools, toolsets=toolsets, **self._options)

    def _on(self, session_id: str, llm: Any) -> Agent:
        """An agent like this one on another session of the same store."""
        twin = self.on_session(session_id)
        if llm is not None:
            twin._model, twin._loops = (llm, None, None), {}
        return twin
