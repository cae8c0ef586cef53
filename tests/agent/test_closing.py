"""Agent.close and aclose: they close what the agent opened by itself, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agent.conftest import FULL, STORES, MakeAgent
from turnlog import Agent
from turnlog.errors import ClosedStoreError


def closed(agent: Agent) -> bool:
    return bool(agent.session.store.closed)


def with_close(agent: Agent) -> None:
    agent.close()


def with_aclose(agent: Agent) -> None:
    asyncio.run(agent.aclose())


def with_scope(agent: Agent) -> None:
    with agent:
        assert not closed(agent)


def with_async_scope(agent: Agent) -> None:
    async def scope() -> None:
        async with agent:
            assert not closed(agent)

    asyncio.run(scope())


WAYS = [with_close, with_aclose, with_scope, with_async_scope]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["json url", "sqlite url"])
def test_a_store_that_the_agent_opened_is_closed(kind: str, way: Callable[[Agent], None], make_agent: MakeAgent) -> None:
    agent = make_agent(kind)
    assert agent.chat("my name is Ada") == "Hello, Ada."
    way(agent)
    assert closed(agent)
    with pytest.raises(ClosedStoreError):
        agent.chat("what is my name?")
    agent.close()
    assert make_agent(kind).chat("what is my name?") == "Your name is Ada."


def test_the_default_store_is_closed(make_agent: MakeAgent) -> None:
    agent = make_agent(None)
    assert agent.chat("my name is Ada") == "Hello, Ada."
    agent.close()
    assert closed(agent)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [kind for kind in FULL if "url" not in kind])
def test_a_store_that_was_handed_over_stays_open(kind: str, way: Callable[[Agent], None], make_agent: MakeAgent, tmp_path: Path) -> None:
    store: Any = STORES[kind](tmp_path)
    agent = make_agent(store)
    assert agent.chat("my name is Ada") == "Hello, Ada."
    way(agent)
    assert not store.closed
    assert make_agent(store).chat("what is my name?") == "Your name is Ada."


def test_forks_share_the_store_that_was_opened(make_agent: MakeAgent) -> None:
    agent = make_agent("json url")
    agent.chat("my name is Ada")
    fork = agent.fork()
    assert fork.chat("what is my name?") == "Your name is Ada."
    agent.close()
    assert closed(fork)
