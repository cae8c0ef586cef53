"""What pydantic-ai's loop can do, an agent can: typed output, retries of tools, toolsets, instructions, limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import FunctionToolset, ModelRetry, RunContext, Tool, UsageLimits
from pydantic_ai.exceptions import UsageLimitExceeded

from tests.agent.api_client import ModelApi
from tests.agent.conftest import STORES, MakeAgent


class Answer(BaseModel):
    """An answer with its parts."""

    text: str
    number: int


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize("kind", STORES)
def test_typed_output(kind: str, vendor: str, make_agent: MakeAgent) -> None:
    agent = make_agent(kind, vendor, output_type=Answer)
    assert agent.chat("my name is Ada") == Answer(text="Hello, Ada.", number=1)
    again = make_agent(agent.session.store, vendor, output_type=Answer)
    answer = again.chat("what is my name?")
    assert isinstance(answer, Answer) and answer.text == "Your name is Ada."
    plain = make_agent(agent.session.store, vendor)
    assert plain.chat("what is my name?") == "Your name is Ada."


def test_a_tool_asks_for_another_attempt(make_agent: MakeAgent) -> None:
    attempts: list[int] = []

    def flaky(attempt: int = 1) -> str:
        """Works the second time."""
        attempts.append(attempt)
        if attempt < 2:
            raise ModelRetry("once more")
        return "well"

    agent = make_agent("json", tools=[flaky])
    assert agent.chat("use flaky") == "The tools said well."
    assert attempts == [1, 2]
    again = make_agent("json", tools=[flaky])
    assert again.chat("my name is Ada") == "Hello, Ada."
    assert [message["role"] for message in again.chat_history][:6] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]


def test_retries_run_out(make_agent: MakeAgent) -> None:
    def stubborn(attempt: int = 1) -> str:
        """Never works."""
        raise ModelRetry("once more")

    agent = make_agent("memory", tools=[stubborn], retries=2)
    with pytest.raises(Exception, match="(?i)retries"):
        agent.chat("use stubborn")
    assert agent.chat_history == []
    assert len(agent.session.interrupted()) == 1


def test_tools_of_every_kind(make_agent: MakeAgent) -> None:
    def plain(word: str) -> str:
        """Say a word."""
        return f"plain {word}"

    async def waiting(word: str) -> str:
        """Say a word."""
        return f"async {word}"

    def seeing(context: RunContext[None], word: str) -> str:
        """Say a word with what it sees."""
        return f"{len(context.messages)} {word}"

    toolset: FunctionToolset[Any] = FunctionToolset()

    @toolset.tool_plain
    def gathered(word: str) -> str:
        """Say a word."""
        return f"set {word}"

    agent = make_agent("memory", tools=[plain, waiting, seeing, Tool(plain, name="renamed"), toolset])
    said = agent.chat("use plain with a, use waiting with b, use seeing with c, use renamed with d, use gathered with e")
    assert said == "The tools said plain a; async b; 2 c; plain d; set e."


def test_an_mcp_server_as_a_toolset(make_agent: MakeAgent) -> None:
    """Anything with pydantic-ai's interface of a toolset will do; MCP servers have it. Its scope is entered for the turn."""
    entered: list[str] = []

    class Server(FunctionToolset[Any]):
        async def __aenter__(self) -> Server:
            entered.append("in")
            return self

        async def __aexit__(self, *_: object) -> None:
            entered.append("out")

    server = Server()

    @server.tool_plain
    def remote(word: str) -> str:
        """Say a word from afar."""
        return f"afar {word}"

    agent = make_agent("memory", tools=[server])
    assert agent.chat("use remote with x") == "The tools said afar x."
    assert entered[0] == "in" and entered.count("in") == entered.count("out")


def test_instructions_are_sent_each_time_and_never_stored(api: ModelApi, make_agent: MakeAgent) -> None:
    agent = make_agent("json", instructions="Be brief.", role="a clerk", goal="order", backstory="long")
    agent.chat("one")
    agent.chat("two")
    for request in api.requests():
        (system,) = [message for message in request["messages"] if message["role"] == "system"]
        assert system["content"] == "Be brief.\nYour role: a clerk\nYour goal: order\nYour background: long"
    assert "clerk" not in json.dumps([message.to_dict() for message in agent.session.messages()])
    make_agent("json", instructions="Be long.").chat("three")
    assert [message["content"] for message in api.requests()[-1]["messages"] if message["role"] == "system"] == ["Be long."]


def test_limits_and_settings(api: ModelApi, make_agent: MakeAgent) -> None:
    agent = make_agent("memory", usage_limits=UsageLimits(request_limit=1), model_settings={"temperature": 0.5})
    assert agent.chat("hello").startswith("1 heard")
    assert api.requests()[-1]["temperature"] == 0.5
    with pytest.raises(UsageLimitExceeded):
        agent.chat("add 2 and 3")
    assert len(agent.chat_history) == 2
