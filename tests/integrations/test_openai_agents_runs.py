"""openai-agents' real Runner on TurnlogSession, with the framework's own scripted model: tools, approvals, restarts, failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, RunConfig, Runner, RunState, function_tool
from agents.memory import SessionSettings
from agents.testing import ScriptedModel, assistant_message, function_call

from tests.integrations.five_methods import AsyncFive, Five
from tests.strict_api import broken_rules
from turnlog.errors import StorageError
from turnlog.integrations.openai_agents import TurnlogSession
from turnlog.session import AsyncSqliteSessionStore, DefaultSessionStore, InMemorySessionStore, SessionStore, SqliteSessionStore
from turnlog.validity import validate_history

QUIET = RunConfig(tracing_disabled=True)
STORES: dict[str, Callable[[Path], Any]] = {
    "sqlite": lambda folder: SqliteSessionStore(folder / "s.sqlite", durability="process"),
    "async sqlite": lambda folder: AsyncSqliteSessionStore(folder / "s.sqlite", durability="process"),
    "json": lambda folder: DefaultSessionStore(folder / "sessions", durability="process"),
    "five": lambda _: Five(),
    "async five": lambda _: AsyncFive(),
}


@function_tool
def clock(city: str) -> str:
    """The time in a city."""
    return f"noon in {city}"


@function_tool(needs_approval=True)
def ring(city: str) -> str:
    """Ring the bells of a city."""
    return f"the bells of {city} ring"


def agent_of(*steps: Any) -> tuple[Agent[Any], ScriptedModel]:
    """An agent with both tools, and the model that says those steps."""
    model = ScriptedModel(steps)
    return Agent(name="Assistant", model=model, tools=[clock, ring]), model


def parallel(*ids: str, tool: str = "clock") -> list[Any]:
    """The model calls a tool several times at once."""
    return [function_call(tool, {"city": name}, call_id=name) for name in ids]


def kinds(items: Any) -> list[str]:
    """What the items are, in order."""
    return [item.get("type") if item.get("type", "message") != "message" else item["role"] for item in items]


async def close(store: Any) -> None:
    """Close any store."""
    if isinstance(store, SessionStore):
        store.close()
    elif isinstance(store, AsyncSqliteSessionStore):
        await store.close()


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("streamed", [False, True])
def test_turns_with_parallel_tools(kind: str, streamed: bool, tmp_path: Path) -> None:
    async def use() -> None:
        store = STORES[kind](tmp_path)
        agent, model = agent_of(parallel("Bern", "Rome"), [assistant_message("Noon.")], [assistant_message("You asked for the time.")])
        for text in ("What time is it?", "What did I ask?"):
            # A new object each time, as in a server that keeps none between requests.
            session = TurnlogSession("chat-1", store)
            if streamed:
                result = Runner.run_streamed(agent, text, session=session, run_config=QUIET)
                assert [event async for event in result.stream_events()]
            else:
                await Runner.run(agent, text, session=session, run_config=QUIET)
        called = ["user", "function_call", "function_call", "function_call_output", "function_call_output", "assistant"]
        last = model.last_call
        assert last is not None
        assert kinds(last.input) == [*called, "user"]
        items = await TurnlogSession("chat-1", store).get_items()
        assert kinds(items) == [*called, "user", "assistant"]
        assert items[0] == {"role": "user", "content": "What time is it?"}
        assert [item["output"] for item in items if "output" in item] == ["noon in Bern", "noon in Rome"]
        assert all("id" in item for item in items if item.get("type") == "message")
        await close(store)

    asyncio.run(use())


@pytest.mark.parametrize("limit", range(1, 9))
def test_a_limit_never_gives_the_model_half_a_tool_call(limit: int) -> None:
    async def use() -> list[Any]:
        store = InMemorySessionStore()
        agent, _ = agent_of(parallel("Bern", "Rome"), [assistant_message("Noon.")])
        await Runner.run(agent, "What time is it?", session=TurnlogSession("chat-1", store), run_config=QUIET)
        again, model = agent_of([assistant_message("Yes.")])
        config = RunConfig(tracing_disabled=True, session_settings=SessionSettings(limit=limit))
        await Runner.run(again, "Sure?", session=TurnlogSession("chat-1", store), run_config=config)
        assert model.last_call is not None
        return list(model.last_call.input)

    sent = asyncio.run(use())
    assert broken_rules(sent) == []
    assert validate_history(sent) == []
    assert len(sent) == 1 + (1 if limit < 5 else min(limit, 6))


@pytest.mark.parametrize("kind", ["sqlite", "json", "async five"])
def test_an_approval_in_between(kind: str, tmp_path: Path) -> None:
    async def use() -> None:
        store = STORES[kind](tmp_path)
        session = TurnlogSession("chat-1", store)
        agent, model = agent_of([*parallel("Bern"), *parallel("Rome", tool="ring")], [assistant_message("Done.")])
        asked = await Runner.run(agent, "Ring!", session=session, run_config=QUIET)
        assert len(asked.interruptions) == 1
        state = await RunState.from_string(agent, asked.to_state().to_string())
        state.approve(state.get_interruptions()[0])
        done = await Runner.run(agent, state, session=TurnlogSession("chat-1", store), run_config=QUIET)
        assert done.final_output == "Done."
        assert model.last_call is not None
        items = await session.get_items()
        assert broken_rules(list(items)) == []
        assert sorted(item["output"] for item in items if "output" in item) == ["noon in Bern", "the bells of Rome ring"]
        await close(store)

    asyncio.run(use())


@pytest.mark.parametrize("stored", [False, True])
def test_a_write_of_unknown_outcome_is_settled_when_the_run_is_resumed(stored: bool) -> None:
    """The store fails, before or after it has stored what a tool did; resumed, the run neither loses it nor stores it twice."""
    failing = False

    class Failing(InMemorySessionStore):
        def add_messages(self, *arguments: Any, **named: Any) -> bool:
            nonlocal failing
            fails, failing = failing, False
            if not fails or stored:
                super().add_messages(*arguments, **named)
            if fails:
                raise StorageError("the line went dead")
            return True

    async def use() -> None:
        nonlocal failing
        session = TurnlogSession("chat-1", Failing())
        agent, _ = agent_of(parallel("Rome", tool="ring"), [assistant_message("Done.")])
        state = (await Runner.run(agent, "Ring!", session=session, run_config=QUIET)).to_state()
        state.approve(state.get_interruptions()[0])
        failing = True
        with pytest.raises(StorageError):
            await Runner.run(agent, state, session=session, run_config=QUIET)
        done = await Runner.run(agent, state, session=session, run_config=QUIET)
        assert done.final_output == "Done."
        assert kinds(message.record for message in session.store.get_messages("chat-1")) == [
            "user",
            "function_call",
            "function_call_output",
            "assistant",
        ]

    asyncio.run(use())


PROGRAM = """
import asyncio, sys
from agents import Agent, RunConfig, Runner
from agents.testing import ScriptedModel, assistant_message
from turnlog.integrations.openai_agents import TurnlogSession

async def main():
    model = ScriptedModel([[assistant_message(sys.argv[2])]])
    agent = Agent(name="Assistant", model=model)
    async with TurnlogSession("chat-1", "sqlite://./chats.sqlite") as session:
        await Runner.run(agent, sys.argv[1], session=session, run_config=RunConfig(tracing_disabled=True))
    print([item["content"] if isinstance(item["content"], str) else item["content"][0]["text"] for item in model.last_call.input])

asyncio.run(main())
"""


def test_a_new_process_goes_on(run_python: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    assert run_python("program.py", "I am Ada.", "Hello Ada.").stdout == "['I am Ada.']\n"
    assert run_python("program.py", "Who am I?", "Ada.").stdout == "['I am Ada.', 'Hello Ada.', 'Who am I?']\n"


def test_a_session_begun_elsewhere_goes_on_here() -> None:
    store = InMemorySessionStore()
    calls = [{"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {"city": "Bern"}}]
    results = [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "noon"}]
    said = [("user", "Time?"), ("assistant", calls), ("user", results), ("assistant", "Noon.")]
    store.add_messages("chat-1", [{"role": role, "content": content} for role, content in said])

    async def use() -> list[Any]:
        agent, model = agent_of([assistant_message("I did.")])
        await Runner.run(agent, "Did you look?", session=TurnlogSession("chat-1", store), run_config=QUIET)
        assert model.last_call is not None
        return list(model.last_call.input)

    sent = asyncio.run(use())
    assert kinds(sent) == ["user", "function_call", "function_call_output", "assistant", "user"]
    assert broken_rules(sent) == []


def test_a_missing_package_is_named(run_python: Callable[..., Any]) -> None:
    program = "import sys; sys.modules['agents'] = None; import turnlog.integrations.openai_agents"
    assert "pip install 'turnlog[openai-agents]'" in run_python("-c", program, status=1).stderr
