"""What the README's first screen says of all doors to a session: each reads and continues what the others wrote."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import agents
import pytest
from agents.testing import ScriptedModel, assistant_message
from pydantic_ai import Agent as Loop
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tests.strict_api import broken_rules
from turnlog import Agent, turn
from turnlog.integrations.openai_agents import TurnlogSession
from turnlog.integrations.pydantic_ai import TurnlogConversationStore
from turnlog.session import SessionStore, open_store


def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


def heard(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Says what it was asked so far."""
    asked = [str(part.content) for message in messages for part in message.parts if part.part_kind == "user-prompt"]
    return ModelResponse(parts=[TextPart(" ".join(asked))])


def by_openai_agents(store: SessionStore) -> None:
    """A turn through openai-agents' own Runner."""
    agents.set_tracing_disabled(True)
    model = ScriptedModel([[assistant_message("Two.")]])
    asyncio.run(agents.Runner.run(agents.Agent(name="A", model=model), "two", session=TurnlogSession("chat-123", store)))


def by_pydantic_ai(store: SessionStore) -> None:
    """A turn through pydantic-ai's own conversation store."""

    async def go() -> None:
        talks = TurnlogConversationStore(store)
        talk = await talks.load("chat-123") or Conversation(conversation_id="chat-123")
        await talks.save(await Loop(FunctionModel(heard)).run("three", conversation=talk))

    asyncio.run(go())


def by_hand(store: SessionStore) -> None:
    """A turn in Anthropic's form."""
    with turn(store, "chat-123", form="anthropic") as t:
        t.add({"role": "user", "content": "four"})
        assert broken_rules(t.messages) == []
        t.add({"role": "assistant", "content": [{"type": "text", "text": "Four."}]})


@pytest.mark.parametrize("place", ["json://./sessions", "sqlite://./sessions.sqlite"])
def test_every_door_continues_what_the_others_wrote(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store(place) as store:
        Agent("A", llm="test", tools=[add], memory={"session_id": "chat-123", "store": store}).start("one")
        for door in (by_openai_agents, by_pydantic_ai, by_hand):
            door(store)
        last = Agent("A", llm=FunctionModel(heard), memory={"session_id": "chat-123", "store": store})
        assert last.start("five") == "one two three four five"
        with turn(store, "chat-123") as t:
            assert broken_rules(t.messages) == []
        assert len(t.messages) == 12
    shown = run_python("-m", "turnlog", "--store", place, "show", "chat-123").stdout
    assert [word for word in ("one", "add", "two", "Two.", "three", "four", "Four.", "five") if word not in shown] == []
