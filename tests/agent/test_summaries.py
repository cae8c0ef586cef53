"""Summaries of what falls out of the window: stored as messages, sent to the model, built one on the other; the originals stay."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agent.api_client import ModelApi, openai_model
from tests.agent.conftest import FULL, STORES, MakeAgent
from turnlog import Agent
from turnlog.agent import loop
from turnlog.agent.summary import SUMMARY


@pytest.fixture
def summarising(api: ModelApi, make_agent: MakeAgent) -> MakeAgent:
    """``make_agent`` with summaries beyond six messages."""

    def make(store: Any, vendor: str = "openai", **options: Any) -> Agent:
        memory = {"history_limit": 6, "summarize": openai_model(api.url), **options.pop("memory", {})}
        return make_agent(store, vendor, memory=memory, **options)

    return make


def summaries(agent: Agent) -> list[Any]:
    return [message for message in agent.session.messages() if SUMMARY in message.metadata]


def said(agent: Agent, *numbers: int) -> None:
    for number in numbers:
        agent.chat(f"fact {number}")


def chats(api: ModelApi) -> list[list[dict[str, Any]]]:
    """The messages of the requests that are no summaries."""
    return [request["messages"] for request in api.requests() if "Summarise" not in str(request["messages"][0]["content"])]


@pytest.mark.parametrize("kind", STORES)
def test_the_model_is_sent_the_summary_of_what_fell_out(kind: str, api: ModelApi, summarising: MakeAgent) -> None:
    agent = summarising(kind)
    agent.chat("my name is Ada")
    said(agent, 1, 2, 3)
    assert summaries(agent) == []
    said(agent, 4)
    (summary,) = summaries(agent)
    assert summary.role == "system" and summary.content.startswith("my name is Ada")
    first, *rest = chats(api)[-1]
    assert first["role"] == "system" and summary.content in first["content"]
    assert rest[0]["role"] == "user" and len(rest) <= 6 + 1
    assert agent.chat("what is my name?") == "Your name is Ada."
    assert len(summaries(agent)) == 1, "a summary is due only once in half a window"


@pytest.mark.parametrize("kind", STORES)
def test_nothing_is_left_out_and_nothing_summarised_twice(kind: str, api: ModelApi, summarising: MakeAgent) -> None:
    agent = summarising(kind)
    for number in range(12):
        said(agent, number)
        sent = " ".join(message["content"] for message in chats(api)[-1])
        for earlier in range(number + 1):
            assert sent.count(f"fact {earlier} ") + sent.count(f"fact {earlier}") >= 1, f"fact {earlier} is not known at {number}"
    made = summaries(agent)
    assert 3 <= len(made) <= 6
    for one, later in zip(made, made[1:], strict=False):
        assert later.content.startswith(one.content), "the second builds on the first"
    parts = made[-1].content.split(" | ")
    assert parts == [f"fact {number}" for number in range(len(parts))]


@pytest.mark.parametrize("kind", FULL)
def test_what_a_summary_stands_for_stays_and_is_found(kind: str, summarising: MakeAgent, make_agent: MakeAgent) -> None:
    agent = summarising(kind)
    said(agent, *range(8))
    stored = [message.content for message in agent.session.messages()]
    assert [content for content in stored if content.startswith("fact")][:1] == ["fact 0"]
    assert sum(content == f"fact {number}" for content in stored for number in range(8)) == 8
    found = loop.run(lambda: agent._store.call("search", "fact 0"))
    assert [hit.session_id for hit in found] == ["chat"]


@pytest.mark.parametrize("kind", STORES)
def test_a_new_process_goes_on_from_the_summary(kind: str, api: ModelApi, summarising: MakeAgent) -> None:
    agent = summarising(kind)
    agent.chat("my name is Ada")
    said(agent, *range(6))
    again = summarising(agent.session.store)
    assert again.chat("what is my name?") == "Your name is Ada."
    assert again.chat("add 2 and 3") == "The tools said 5."


@pytest.mark.parametrize("kind", [name for name in STORES if name != "five methods on files"])
def test_a_fork_goes_on_from_the_summary(kind: str, summarising: MakeAgent) -> None:
    agent = summarising(kind)
    agent.chat("my name is Ada")
    said(agent, *range(6))
    before = len(summaries(agent))
    child = agent.fork()
    assert child.chat("what is my name?") == "Your name is Ada."
    said(child, *range(6))
    assert child.chat("what is my name?") == "Your name is Ada."
    assert len(summaries(agent)) == before
    assert len(summaries(child)) > before


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_a_revert_before_the_summary(kind: str, summarising: MakeAgent) -> None:
    agent = summarising(kind)
    agent.chat("my name is Ada")
    said(agent, *range(6))
    assert summaries(agent)
    agent.revert(1)
    assert summaries(agent) == []
    assert agent.chat("what is my name?") == "Your name is Ada."


@pytest.mark.parametrize("limit", range(1, 8))
def test_at_every_limit_each_message_is_summarised_once(limit: int, summarising: MakeAgent) -> None:
    agent = summarising("memory", memory={"history_limit": limit})
    said(agent, *range(10))
    parts = summaries(agent)[-1].content.split(" | ")
    assert parts == [f"fact {number}" for number in range(len(parts))]


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_tool_turns_are_summarised_whole(vendor: str, summarising: MakeAgent) -> None:
    agent = summarising("memory", vendor)
    agent.chat("my name is Ada")
    for _ in range(6):
        assert agent.chat("add 2 and 3, add 4 and 5") == "The tools said 5; 9."
    assert agent.chat("what is my name?") == "Your name is Ada."


@pytest.mark.parametrize("kind", ["sqlite", "five methods"])
def test_messages_that_no_agent_wrote_are_summarised_too(kind: str, api: ModelApi, summarising: MakeAgent, make_agent: MakeAgent) -> None:
    store = make_agent(kind).session.store
    for number in range(10):
        store.add_message("chat", "user", f"fact {number}")
        store.add_message("chat", "assistant", "Noted.")
    agent = summarising(store)
    said(agent, *range(10, 16))
    parts = summaries(agent)[-1].content.split(" | ")
    assert parts == [f"fact {number}" for number in range(len(parts))]


def test_a_budget_of_tokens_is_summarised_as_well(summarising: MakeAgent) -> None:
    agent = summarising("memory", memory={"history_limit": None, "token_budget": 120})
    agent.chat("my name is Ada")
    said(agent, *range(10))
    assert agent.chat("what is my name?") == "Your name is Ada."
    assert summaries(agent)


def test_a_failing_summary_leaves_the_history(api: ModelApi, summarising: MakeAgent, make_agent: MakeAgent) -> None:
    agent = summarising("memory", memory={"summarize": openai_model("http://127.0.0.1:9/v1")})
    said(agent, 0, 1, 2, 3)
    before = agent.chat_history
    with pytest.raises(Exception, match="[Cc]onnection"):
        said(agent, 4)
    assert agent.chat_history == before
    assert [turn.messages[0].content for turn in agent.session.interrupted()] == ["fact 4"]


def test_without_summaries_earlier_ones_are_not_sent(api: ModelApi, summarising: MakeAgent, make_agent: MakeAgent) -> None:
    agent = summarising("memory")
    said(agent, *range(6))
    make_agent(agent.session.store).chat("hello")
    assert all(message["role"] != "system" for message in chats(api)[-1])
