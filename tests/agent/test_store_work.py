"""What a turn costs the disk: few syncs, and the same at turn 10 and at turn 10,000."""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from turnlog import Agent
from turnlog.session import DefaultSessionStore
from turnlog.testing.syncs import Syncs

TURNS = 5


def quick_model() -> Any:
    """A model in this process that answers soon, by a tool call where it is asked for one."""
    from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, UserPromptPart
    from pydantic_ai.models.function import AgentInfo, FunctionModel

    async def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        # As any real model, it takes longer than the prompt takes to be kept meanwhile: so each turn does the same work.
        await asyncio.sleep(0.05)
        part = messages[-1].parts[-1]
        if isinstance(part, UserPromptPart) and "twice" in str(part.content):
            return ModelResponse(parts=[ToolCallPart("twice", {"number": 2})])
        return ModelResponse(parts=[TextPart("Noted.")])

    return FunctionModel(respond)


def twice(number: int) -> int:
    """Two times a number."""
    return 2 * number


def filled(place: Path, turns: int) -> DefaultSessionStore:
    """A store whose session "chat" has so many turns."""
    store = DefaultSessionStore(place / str(turns))
    for _ in range(0, turns, 1000):
        count = min(turns, 1000)
        turn = [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": "Noted. " * 5}]
        store.add_messages("chat", turn * count)
    return store


def syncs_of(place: Path, turns: int, text: str) -> list[int]:
    """The syncs of each of several turns, once the agent has had its first."""
    agent = Agent(llm=quick_model(), tools=[twice], memory={"session_id": "chat", "store": filled(place, turns), "history_limit": 20})
    counted = []
    syncs = Syncs()
    with syncs.watching():

        async def go() -> None:
            await agent.achat("hello")
            for _ in range(TURNS):
                before = len(syncs.events)
                await agent.achat(text)
                counted.append(sum(event.kind == "sync" for event in syncs.events[before:]))

        asyncio.run(go())
    return counted


@pytest.mark.parametrize("text", ["hello", "twice 2"])
def test_a_turn_syncs_as_often_at_any_length(tmp_path: Path, text: str) -> None:
    short, long = syncs_of(tmp_path, 10, text), syncs_of(tmp_path, 10_000, text)
    assert short == long
    assert max(short) <= 3
    assert min(short) >= 1, "a turn that is acknowledged was synced"


def test_a_turn_moves_as_many_bytes_at_any_length(tmp_path: Path) -> None:
    counted = {}
    for turns in (1_000, 10_000):
        agent = Agent(llm=quick_model(), memory={"session_id": "chat", "store": filled(tmp_path, turns), "history_limit": 20})

        async def go(agent: Agent = agent) -> list[int]:
            moved = []
            for _ in range(3 * TURNS):
                before = written()
                await agent.achat("hello")
                moved.append(written() - before)
            return moved

        # The middle one, as other threads of this process may write now and then.
        counted[turns] = median(asyncio.run(go()))
    assert counted[10_000] <= counted[1_000] * 1.05


def written() -> int:
    """Bytes that this process has written."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
    return int(lines["wchar"])


def test_the_first_turn_of_an_agent_known_to_the_session_rewrites_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path, 10_000)
    options: dict[str, Any] = {
        "name": "Assistant",
        "llm": quick_model(),
        "memory": {"session_id": "chat", "store": store, "history_limit": 20},
    }
    asyncio.run(Agent(**options).achat("hello"))
    before = written()
    asyncio.run(Agent(**options).achat("hello"))
    assert written() - before < 100_000
