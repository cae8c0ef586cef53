"""How much of the history a model is sent: windows that begin at a user message and that no API refuses, at every limit."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agent.api_client import ModelApi
from tests.agent.conftest import STORES, MakeAgent

TURNS = ["my name is Ada", "add 2 and 3, add 4 and 5", "add 1 and 1, add 2 and 2, add 3 and 3", "hello", "add 7 and 8"]


@pytest.mark.parametrize(("kind", "vendor"), [("json", "openai"), ("sqlite", "anthropic"), ("five methods", "openai")])
def test_every_limit_is_kept_and_valid(kind: str, vendor: str, api: ModelApi, make_agent: MakeAgent) -> None:
    agent = make_agent(kind, vendor)
    for text in TURNS:
        agent.chat(text)
    stored = agent.chat_history
    for limit in range(1, len(stored) + 2):
        # A fork, so that each is asked the same.
        child = make_agent(agent.session.store, vendor, memory={"session_id": agent.fork().session_id, "history_limit": limit})
        api.forget()
        assert child.chat("what is my name?") == ("Your name is Ada." if limit >= len(stored) else "You did not say.")
        (request,) = api.requests()
        sent = request["messages"][:-1]
        if vendor == "openai":
            assert len(sent) <= limit
            assert sent == [] or sent[0]["role"] == "user"


@pytest.mark.parametrize("kind", STORES)
def test_a_budget_of_tokens(kind: str, api: ModelApi, make_agent: MakeAgent) -> None:
    counted: list[Any] = []

    def count(message: Any) -> int:
        counted.append(message)
        return 10

    agent = make_agent(kind, memory={"token_budget": 45, "count_tokens": count})
    for text in TURNS:
        agent.chat(text)
    api.forget()
    agent.chat("what is my name?")
    (request,) = api.requests()
    assert [message["role"] for message in request["messages"]] == ["user", "assistant", "tool", "assistant", "user"]
    assert counted


def test_tokens_are_estimated(api: ModelApi, make_agent: MakeAgent) -> None:
    agent = make_agent("memory", memory={"token_budget": 200})
    agent.chat("x" * 2000)
    for number in range(20):
        agent.chat(f"short {number}")
    sent = api.requests()[-1]["messages"]
    assert 4 <= len(sent) <= 20
    assert all(len(message["content"]) < 100 for message in sent)


def test_a_store_that_keeps_few_messages(api: ModelApi, make_agent: MakeAgent, tmp_path: Any) -> None:
    from turnlog.session import DefaultSessionStore

    agent = make_agent(DefaultSessionStore(tmp_path / "few", max_messages=6))
    for text in TURNS * 2:
        agent.chat(text)
    assert len(agent.chat_history) <= 6
    assert all(len(request["messages"]) <= 6 + 6 for request in api.requests())
