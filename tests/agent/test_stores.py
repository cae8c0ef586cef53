"""One script on every store: the same conversation, and the very same requests to the model, also from a new process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agent.api_client import ROOT, ModelApi
from tests.agent.conftest import LASTING, STORES, MakeAgent
from tests.agent.program import script

Expected = Callable[[str], list[Any]]


@pytest.fixture(scope="module")
def expected(running_api: ModelApi, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """The requests of the script where nothing is stored: pydantic-ai's own loop with message_history."""
    made: dict[str, list[Any]] = {}

    def of(vendor: str) -> list[Any]:
        if vendor not in made:
            from pydantic_ai import Agent as Loop
            from pydantic_ai.messages import ModelMessage

            from tests.agent.api_client import MODELS
            from tests.agent.conftest import add

            loop = Loop(MODELS[vendor](running_api.url), name="Agent", instructions="Be brief.", tools=[add])
            messages: list[ModelMessage] = []
            before = len(running_api.requests())
            for text in script():
                messages = asyncio.run(loop.run(text, message_history=messages)).all_messages()
            made[vendor] = [each["messages"] for each in running_api.requests()[before:]]
        return made[vendor]

    return of


def requests_of(api: ModelApi) -> list[Any]:
    return [each["messages"] for each in api.requests()]


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize("kind", STORES)
def test_the_model_is_sent_what_the_bare_loop_sends(
    kind: str, vendor: str, api: ModelApi, make_agent: MakeAgent, expected: Expected
) -> None:
    wanted = expected(vendor)
    api.forget()
    agent = make_agent(kind, vendor, instructions="Be brief.")
    for text in script():
        agent.chat(text)
    assert requests_of(api) == wanted


def test_the_history_is_the_same_on_every_store(api: ModelApi, make_agent: MakeAgent) -> None:
    histories = {}
    for kind in STORES:
        agent = make_agent(kind, memory={"session_id": f"chat-{kind}"})
        answers = [agent.chat(text) for text in script()]
        histories[kind] = (answers, agent.chat_history, [message.record for message in agent.session.messages()])
    first = histories["json"]
    assert [message["role"] for message in first[1][2:7]] == ["user", "assistant", "tool", "tool", "assistant"]
    assert first[1] == first[2]
    assert all(each == first for each in histories.values()), {kind: each == first for kind, each in histories.items()}


def test_a_new_process_sends_what_the_first_would_have(api: ModelApi, make_agent: MakeAgent, tmp_path: Path) -> None:
    wanted = []
    for kind in LASTING:
        one, other = (make_agent(kind, memory={"session_id": f"{name} {kind}"}) for name in ("one", "other"))
        for text in script()[:3]:
            one.chat(text)
            other.chat(text)
        api.forget()
        for text in script()[3:]:
            one.chat(text)
        wanted += requests_of(api)
    api.forget()
    sessions = [[kind, f"other {kind}"] for kind in LASTING]
    command = [sys.executable, "-m", "tests.agent.program", "chat", api.url, str(tmp_path), json.dumps(sessions), json.dumps(script()[3:])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert requests_of(api) == wanted
    assert len(wanted) == 3 * len(LASTING)


def test_sessions_are_apart(make_agent: MakeAgent) -> None:
    shared = make_agent("memory").session.store
    one, other = (make_agent(shared, memory={"session_id": name}) for name in ("one", "other"))
    one.chat("my name is Ada")
    other.chat("my name is Bob")
    assert one.chat("what is my name?") == "Your name is Ada."
    assert other.chat("what is my name?") == "Your name is Bob."


def test_without_a_session_nothing_is_written(make_agent: MakeAgent, tmp_path: Path, home: Path) -> None:
    agent = make_agent("json", memory={"session_id": None})
    agent.chat("my name is Ada")
    assert agent.chat("what is my name?") == "Your name is Ada."
    assert [path for path in [*tmp_path.rglob("*"), *home.rglob("*")] if path.is_file()] == []


def test_memory_false_sends_no_history(make_agent: MakeAgent) -> None:
    agent = make_agent("memory", memory={"history": False})
    agent.chat("my name is Ada")
    assert agent.chat("what is my name?") == "You did not say."
    assert len(agent.chat_history) == 4
