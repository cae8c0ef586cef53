"""What is wrong when a bot starts is told then, and nothing that was opened stays open; what is stored tells when it goes on."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.bots.edge import Edge
from tests.bots.models import Model
from turnlog import Agent
from turnlog.agent import ModelNotConfiguredError
from turnlog.agent.models import PROVIDER_KEYS
from turnlog.bots import Bot
from turnlog.errors import ClosedStoreError
from turnlog.session import InMemorySessionStore


def test_an_agent_without_a_model_is_told_before_anything_is_received(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TURNLOG_MODEL", "OPENAI_MODEL_NAME", *PROVIDER_KEYS):
        monkeypatch.delenv(name, raising=False)
    edge = Edge()
    bot = Bot(edge, agent=Agent("Tester"), session_store=f"sqlite://{tmp_path}/s.sqlite")
    with pytest.raises(ModelNotConfiguredError):
        bot.run()
    assert edge.opened == 0
    with pytest.raises(ClosedStoreError):
        asyncio.run(bot.store.call("session_exists", "s"))


def test_it_is_logged_that_a_bot_runs(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with Bot(Edge(), agent=Model().agent(), session_store=InMemorySessionStore(), name="support"):
            assert caplog.messages == ["bot_edge.support runs"]

    with caplog.at_level(logging.INFO, "turnlog.bots"):
        asyncio.run(run())
