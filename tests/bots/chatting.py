"""A bot on a platform's edge for as long as a scope lasts: what the Discord and Slack tests have in common."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.bots.models import Model
from turnlog.bots import Bot, Update
from turnlog.bots.leases import Leases


class Chatting:
    """A bot that runs, its model, and what its ``on_error`` was told."""

    def __init__(self, bot: Bot, model: Model, errors: list[tuple[Exception, Update | None]]) -> None:
        self.bot, self.model, self.errors = bot, model, errors


@asynccontextmanager
async def chatting(platform: Any, store: Any, *, model: Model | None = None, **options: Any) -> AsyncIterator[Chatting]:
    """A bot on ``store``; errors that the test does not take from ``errors`` fail it."""
    model = model or Model()
    errors: list[tuple[Exception, Update | None]] = []
    bot = Bot(platform, agent=model.agent(), session_store=store, on_error=lambda *told: errors.append(told), **options)
    await bot.start()
    try:
        yield Chatting(bot, model, errors)
    finally:
        await bot.stop(10)
        if "Memory" not in type(store).__name__ and hasattr(store, "close"):
            closed = store.close()
            if inspect.isawaitable(closed):
                await closed
    assert errors == [], errors


@asynccontextmanager
async def lease_of_another(bot: Bot) -> AsyncIterator[None]:
    """The bot is held up until its poller's lease has run out; until the scope is left another worker has that."""
    lease = bot._receiving._lease
    assert lease is not None
    lease._renewing.cancel()
    another = Leases(bot.store, 30.0, lambda error: None)
    async with asyncio.timeout(20):
        while (taken := await another.take(lease.session_id, lease.name)) is None:  # noqa: ASYNC110  # nothing tells when it runs out
            await asyncio.sleep(0.01)
    try:
        yield
    finally:
        await taken.release()
