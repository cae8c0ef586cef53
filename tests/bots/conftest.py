"""What tests of bots get: stores of every kind, and bots that are stopped and whose failures are seen."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bots.edge import Edge
from tests.bots.models import Model
from tests.bots.stores import KINDS, Open
from turnlog.bots import Bot, Update


class Running:
    """A bot that runs, its platform, its model, and what its ``on_error`` was told."""

    def __init__(self, bot: Bot, edge: Edge, model: Model, errors: list[tuple[Exception, Update | None]]) -> None:
        self.bot = bot
        self.edge = edge
        self.model = model
        self.errors = errors

    async def say(self, text: str, user: str = "alice", **fields: Any) -> str:
        """Say something, wait for the answer, and give what is on the screen last."""
        await self.edge.deliver(text, user, **fields)
        await self.bot.idle()
        shown = self.edge.screen(fields.get("chat") or user)
        return shown[-1] if shown else ""


RunBot = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[str], Open]:
    """``opened(kind)``: opens the store of that kind, again and again over the same data."""
    made: dict[str, Open] = {}

    def open_kind(kind: str) -> Open:
        if kind not in made:
            made[kind] = KINDS[kind](tmp_path)
        return made[kind]

    return open_kind


@pytest.fixture
def run_bot() -> RunBot:
    """``async with run_bot(store, …) as running``; errors that the test does not take from ``running.errors`` fail it."""

    @asynccontextmanager
    async def run(store: Any, *, edge: Edge | None = None, model: Model | None = None, **options: Any) -> AsyncIterator[Running]:
        edge, model = edge or Edge(), model or Model()
        errors: list[tuple[Exception, Update | None]] = []
        lasting = options.pop("stop_after", 10.0)
        agent = model.agent(memory=options.pop("memory", None))
        bot = Bot(edge, agent=agent, session_store=store, on_error=lambda *told: errors.append(told), **options)
        await bot.start()
        try:
            yield Running(bot, edge, model, errors)
        finally:
            await bot.stop(lasting)
            if "Memory" not in type(store).__name__ and hasattr(store, "close"):
                closed = store.close()
                if inspect.isawaitable(closed):
                    await closed
        assert errors == [], errors

    return run
