"""Turns that end early, by kill -9, a failure, a cancel or a timeout: the history stays as it was, and what was produced is not lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agent.api_client import ModelApi
from tests.agent.conftest import FULL, STORES, MakeAgent, Start
from tests.strict_api import broken_rules
from turnlog.agent.conversation import NoInterruptedTurnError


@pytest.fixture(params=["json", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    """A store that outlives its process."""
    return str(request.param)


@pytest.fixture
def start(start_on: Start, kind: str) -> Start:
    """``start(**memory)``: an agent on the session "chat" in a process of its own."""
    return partial(start_on, kind)


def eventually(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def wait_kept(kind: str, place: Path) -> None:
    """Wait until the turn under way is kept, which happens while the model is asked."""
    store = STORES[kind](place)
    eventually(lambda: any(turn.messages for turn in store.get_open_turns("chat")))
    store.close()


def contents(turn: dict[str, Any]) -> list[Any]:
    return [(message["role"], message.get("content")) for message in turn["messages"]]


def test_killed_amid_the_models_answer(start: Start, api: ModelApi, kind: str, tmp_path: Path) -> None:
    first = start()
    first.ask("chat", text="my name is Ada")
    before = first.ask("history")
    first.send("chat", text=f"add 2 and 3, hold amid{kind}")
    api.wait_held(f"amid{kind}")
    wait_kept(kind, tmp_path)
    first.kill()
    second = start()
    assert second.ask("history") == before
    (turn,) = second.ask("interrupted")
    assert contents(turn) == [("user", f"add 2 and 3, hold amid{kind}")]
    api.release(f"amid{kind}")
    assert second.ask("chat", text="what is my name?") == "Your name is Ada."
    assert second.ask("resume") == "The tools said 5."
    assert second.ask("interrupted") == []
    history = second.ask("history")
    assert [message["role"] for message in history] == ["user", "assistant", "user", "assistant", "user", "assistant", "tool", "assistant"]
    assert broken_rules(history) == []


def test_killed_amid_a_tool_after_another_answered(start: Start, kind: str, tmp_path: Path) -> None:
    first = start()
    first.send("chat", text="add 2 and 3, use wait_for with gate")
    eventually((tmp_path / "gate.started").exists)
    first.kill()
    second = start()
    assert second.ask("history") == []
    (turn,) = second.ask("interrupted")
    assert [role for role, _ in contents(turn)][:2] == ["user", "assistant"]
    (tmp_path / "gate").touch()
    assert second.ask("resume") == "The tools said 5; gate came."
    assert second.ask("interrupted") == []
    assert [message["role"] for message in second.ask("history")] == ["user", "assistant", "tool", "tool", "assistant"]


@pytest.mark.parametrize("how", ["chat", "stream"])
def test_killed_amid_the_answer_to_tool_results(start: Start, how: str, api: ModelApi, kind: str, tmp_path: Path) -> None:
    first = start()
    key = f"answer{kind}{how}"
    first.send(how, text=f"add 1 and 1, use mark with a, afterwards {key}")
    api.wait_held(key)
    first.kill()
    second = start()
    (turn,) = second.ask("interrupted")
    assert contents(turn)[2:4] == [("tool", "2"), ("tool", "marked a")]
    api.release(key)
    assert second.ask("resume") == "The tools said 2; marked a."
    assert (tmp_path / "a.marks").read_text() == "ran\n", "a tool that had answered ran again"
    assert [message["role"] for message in second.ask("history")] == ["user", "assistant", "tool", "tool", "assistant"]


def test_killed_amid_a_streamed_answer(start: Start, api: ModelApi, kind: str, tmp_path: Path) -> None:
    first = start()
    first.send("stream", text=f"tell 60 slowly, hold drafted{kind}")
    api.wait_held(f"drafted{kind}")
    store = STORES[kind](tmp_path)
    eventually(lambda: len(store.get_open_turns("chat")[0].messages) > 1)
    first.kill()
    second = start()
    assert second.ask("history") == []
    (turn,) = second.ask("interrupted")
    (_, asked), (role, draft) = contents(turn)
    assert asked.startswith("tell 60")
    assert role == "assistant" and draft.startswith("word0 word1 ")
    api.release(f"drafted{kind}")
    assert second.ask("resume") == " ".join(f"word{number}" for number in range(60))
    assert len(second.ask("history")) == 2


def test_a_turn_that_two_resume_lands_once(start: Start, api: ModelApi, kind: str, tmp_path: Path) -> None:
    first = start()
    first.send("chat", text=f"my name is Ada, hold once{kind}")
    api.wait_held(f"once{kind}")
    wait_kept(kind, tmp_path)
    first.kill()
    second, third = start(), start()
    second.send("resume")
    third.send("resume")
    eventually(lambda: api.log()["held"].count(f"once{kind}") > 1)
    api.release(f"once{kind}")
    outcomes = [second.answer(), third.answer()]
    assert [outcome["answer"] for outcome in outcomes if "answer" in outcome] == ["Hello, Ada."]
    assert next(outcome["error"] for outcome in outcomes if "error" in outcome) in ("ConflictError", "NoInterruptedTurnError")
    assert second.ask("history") == [
        {"role": "user", "content": f"my name is Ada, hold once{kind}"},
        {"role": "assistant", "content": "Hello, Ada."},
    ]
    assert second.ask("interrupted") == third.ask("interrupted") == []
    assert len(api.requests()) == 2, "the model was asked twice for one turn"


def test_dropped(start: Start, api: ModelApi, kind: str, tmp_path: Path) -> None:
    first = start()
    first.send("chat", text=f"hold dropped{kind}")
    api.wait_held(f"dropped{kind}")
    wait_kept(kind, tmp_path)
    first.kill()
    second = start()
    second.ask("drop")
    assert second.ask("interrupted") == []
    second.send("resume")
    assert second.answer()["error"] == "NoInterruptedTurnError"
    assert second.ask("history") == []
    api.release(f"dropped{kind}")


@pytest.mark.parametrize("name", FULL)
def test_a_failing_model_leaves_an_interrupted_turn(name: str, make_agent: MakeAgent) -> None:
    agent = make_agent(name)
    agent.chat("my name is Ada")
    before = agent.chat_history
    with pytest.raises(Exception, match="500"):
        agent.chat(f"add 2 and 3, fail f{FULL.index(name)}")
    assert agent.chat_history == before
    (turn,) = agent.session.interrupted()
    assert turn.info["error"] == "ModelServerError"
    assert [message.role for message in turn.messages] == ["user"]
    assert agent.resume() == "The tools said 5."
    assert agent.session.interrupted() == []
    assert len(agent.chat_history) == 6


def test_a_failing_tool_shows_what_the_others_answered(make_agent: MakeAgent) -> None:
    fails = [True]

    def once() -> str:
        """Fail once."""
        if fails.pop() if fails else False:
            raise ValueError("the tool fell over")
        return "well"

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    agent = make_agent("memory", tools=[once, add])
    with pytest.raises(ValueError, match="fell over"):
        agent.chat("add 2 and 3, use once")
    assert agent.chat_history == []
    (turn,) = agent.session.interrupted()
    assert [message.role for message in turn.messages][:2] == ["user", "assistant"]
    assert agent.resume().startswith("The tools said 5; ")
    assert [message["role"] for message in agent.chat_history] == ["user", "assistant", "tool", "tool", "assistant"]


@pytest.mark.parametrize("name", FULL)
def test_cancelled(name: str, api: ModelApi, make_agent: MakeAgent) -> None:
    agent = make_agent(name)
    key = f"cancelled{FULL.index(name)}"

    async def cancel() -> None:
        task = asyncio.create_task(agent.achat(f"my name is Ada, hold {key}"))
        await asyncio.to_thread(api.wait_held, key)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    api.release(key)
    (turn,) = agent.session.interrupted()
    assert turn.info["error"] == "CancelledError"
    assert agent.resume() == "Hello, Ada."
    with pytest.raises(NoInterruptedTurnError, match="no interrupted turn"):
        agent.resume()


@pytest.mark.parametrize("how", ["chat", "stream"])
def test_timed_out(how: str, make_agent: MakeAgent) -> None:
    agent = make_agent("memory", timeout=0.2)
    with pytest.raises(TimeoutError):
        agent.chat("slow 1.5") if how == "chat" else list(agent.stream("slow 1.5"))
    assert agent.chat_history == []
    (turn,) = agent.session.interrupted()
    assert turn.info["error"] == "TimeoutError"


def test_a_stream_that_is_ended_early(make_agent: MakeAgent) -> None:
    agent = make_agent("memory")
    pieces = agent.stream("tell 60 slowly")
    begun = "".join(next(pieces) for _ in range(5))
    pieces.close()
    assert agent.chat_history == []
    (turn,) = agent.session.interrupted()
    assert turn.messages[1].content.startswith(begun)
    assert agent.resume() == " ".join(f"word{number}" for number in range(60))


def test_an_async_stream_that_is_ended_early(make_agent: MakeAgent) -> None:
    agent = make_agent("async memory")

    async def begin() -> None:
        pieces = agent.astream("tell 60 slowly")
        assert await anext(pieces) == "word0"
        await pieces.aclose()  # type: ignore[attr-defined]

    asyncio.run(begin())
    (turn,) = agent.session.interrupted()
    assert turn.messages[1].content.startswith("word0")


@pytest.mark.parametrize("how", ["chat", "stream"])
def test_a_named_turn_of_several(how: str, make_agent: MakeAgent) -> None:
    agent = make_agent("memory")
    for word in ("one", "two"):
        with pytest.raises(Exception, match="500"):
            agent.chat(f"{word}, fail {word}{how}")
    first, second = agent.session.interrupted()
    assert agent.resume(first.id) == f"1 heard, the last: one, fail one{how}"
    agent.session.drop_interrupted(second.id)
    assert agent.session.interrupted() == []
    with pytest.raises(LookupError):
        agent.resume(second.id)


def test_five_methods_have_no_interrupted_turns(make_agent: MakeAgent) -> None:
    agent = make_agent("five methods")
    with pytest.raises(Exception, match="500"):
        agent.chat("fail five")
    assert agent.chat_history == []
    assert agent.session.interrupted() == []
    assert agent.chat("my name is Ada") == "Hello, Ada."
