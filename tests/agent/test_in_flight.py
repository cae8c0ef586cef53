"""What happens while the model is asked: the turn is kept meanwhile, and no answer is used before it is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from pydantic_ai import FunctionToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from turnlog import Agent
from turnlog.agent import produced
from turnlog.errors import StorageError
from turnlog.session import InMemorySessionStore

SLOW = 0.2
"""Seconds that a model takes before whose answer the turn is surely being kept."""


class Watched(InMemorySessionStore):
    """A store that tells of open turns that are put, and may wait or fail before it puts one."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.put: list[int] = []
        self.before = before

    def put_open_turn(self, session_id: str, turn_id: str, messages: Any = (), **named: Any) -> bool:
        self.before()
        kept = super().put_open_turn(session_id, turn_id, messages, **named)
        self.put.append(len(messages))
        return kept


def agent_on(store: Any, answers: Iterable[Callable[[], Awaitable[str]]], **options: Any) -> Agent:
    """An agent whose model gives one answer after the other; "call …" calls a tool of that name."""
    following = iter(answers)

    async def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        said = await next(following)()
        return ModelResponse(parts=[ToolCallPart(said[5:], {}) if said.startswith("call ") else TextPart(said)])

    return Agent(llm=FunctionModel(respond), memory={"session_id": "chat", "store": store}, **options)


async def at_once() -> str:
    return "Noted."


async def slowly() -> str:
    await asyncio.sleep(SLOW)
    return "Noted."


def test_the_model_is_asked_before_the_turn_is_kept() -> None:
    asked = threading.Event()

    def wait() -> None:
        assert asked.wait(30), "the store had to wait for the model, and the model for the store"

    async def respond() -> str:
        asked.set()
        return await slowly()

    store = Watched(wait)
    assert agent_on(store, [respond]).chat("hello") == "Noted."
    assert store.put == [1]


def test_a_turn_whose_answer_takes_long_is_there_meanwhile() -> None:
    store = Watched()
    seen: list[list[str]] = []

    async def respond() -> str:
        answer = await slowly()
        seen.extend([str(message.content) for message in turn.messages] for turn in store.get_open_turns("chat"))
        return answer

    agent = agent_on(store, [respond])
    agent.chat("hello")
    assert seen == [["hello"]]
    assert store.get_open_turns("chat") == []


def test_an_answer_at_once_is_stored_without_ado(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produced, "HEAD_START", 60.0)
    store = Watched()
    assert agent_on(store, [at_once]).chat("hello") == "Noted."
    assert store.put == []
    assert [message["role"] for message in store.get_chat_history("chat")] == ["user", "assistant"]


def test_calls_are_kept_before_the_tools_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produced, "HEAD_START", 60.0)
    store = Watched()
    seen: list[list[int]] = []
    tools: FunctionToolset[Any] = FunctionToolset()

    @tools.tool_plain
    def look() -> str:
        """Look."""
        seen.append(list(store.put))
        return "seen"

    async def call() -> str:
        return "call look"

    agent_on(store, [call, at_once], tools=[tools]).chat("hello")
    assert seen == [[2]], "the question and the call"
    assert store.put == [2, 3], "what the tool answered is kept before the model is asked again"


@pytest.mark.parametrize("answer", ["Noted.", "call look"])
def test_a_turn_that_cannot_be_kept_fails(answer: str) -> None:
    ran: list[str] = []
    tools: FunctionToolset[Any] = FunctionToolset()

    @tools.tool_plain
    def look() -> str:
        """Look."""
        ran.append("look")
        return "seen"

    def fail() -> None:
        raise StorageError("the disk is full")

    async def respond() -> str:
        await slowly()
        return answer

    agent = agent_on(Watched(fail), [respond, at_once], tools=[tools])
    with pytest.raises(StorageError, match="the disk is full"):
        agent.chat("hello")
    assert agent.chat_history == []
    assert ran == []


def test_an_interrupted_turn_is_not_marked_as_running_by_a_late_keep() -> None:
    failed = threading.Event()

    async def fail() -> str:
        await asyncio.sleep(SLOW)
        failed.set()
        raise ValueError("the model fell over")

    def wait() -> None:
        # The first put is a slow one: it ends long after the model has failed.
        if not failed.is_set():
            assert failed.wait(30)
            time.sleep(SLOW)

    store = Watched(wait)
    agent = agent_on(store, [fail])
    with pytest.raises(ValueError, match="fell over"):
        agent.chat("hello")
    (turn,) = store.get_open_turns("chat")
    assert turn.info["state"] == "interrupted"
    assert store.put == [1, 1]


def test_cancelled_while_the_turn_is_kept() -> None:
    begun, going = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert going.wait(30)

    store = Watched(wait)
    agent = agent_on(store, [slowly])

    async def cancel() -> None:
        task = asyncio.create_task(agent.achat("hello"))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        await asyncio.sleep(0.02)
        task.cancel()
        going.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    (turn,) = store.get_open_turns("chat")
    assert (turn.info["state"], turn.info["error"]) == ("interrupted", "CancelledError")


def test_a_toolset_that_fails_to_close_fails_the_turn() -> None:
    class Leaving(FunctionToolset[Any]):
        async def __aexit__(self, *_: object) -> None:
            raise OSError("the server would not end")

    agent = agent_on(Watched(), [at_once], tools=[Leaving()])
    with pytest.raises(OSError, match="would not end"):
        agent.chat("hello")
    assert agent.chat_history == []
    (turn,) = agent.session.interrupted()
    assert [message.content for message in turn.messages] == ["hello", "Noted."]
