"""Bots on the local Bot API, by polling and by webhook: what the Telegram tests have in common."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.bots.edge import eventually
from tests.bots.models import Model
from tests.bots.telegram_api import TOKEN, TelegramApi
from turnlog.bots import Bot, Update

HOOK = "https://bot.example/hook"
WAYS: dict[str, dict[str, Any]] = {"polling": {}, "webhook": {"webhook_url": HOOK, "port": 0}}


class Chatting:
    """A bot that runs, and what its ``on_error`` was told."""

    def __init__(self, bot: Bot, api: TelegramApi, model: Model, errors: list[tuple[Exception, Update | None]]) -> None:
        self.bot, self.api, self.model, self.errors = bot, api, model, errors

    async def say(self, text: str | None, user: int = 7, *, chat: int | None = None, **fields: Any) -> str:
        """Say something, wait for the next answer and give it."""
        there = len(self.api.shown[chat or user])
        self.api.say(text, user, chat=chat, **fields)
        await eventually(lambda: len(self.api.shown[chat or user]) > there)
        await self.bot.idle()
        return self.api.texts(chat or user)[-1]


@asynccontextmanager
async def chatting(
    api: TelegramApi, store: Any, way: str = "polling", *, model: Model | None = None, **options: Any
) -> AsyncIterator[Chatting]:
    """A bot on ``store`` for as long as the scope lasts; errors that the test does not take from ``errors`` fail it."""
    model = model or Model()
    errors: list[tuple[Exception, Update | None]] = []
    given = {"token": TOKEN, "base_url": api.url, **WAYS[way], **options}
    bot = Bot("telegram", agent=model.agent(), session_store=store, on_error=lambda *told: errors.append(told), **given)
    await bot.start()
    try:
        if way == "webhook":
            api.targets = [target(bot)]
        yield Chatting(bot, api, model, errors)
    finally:
        await bot.stop(10)
        if "Memory" not in type(store).__name__ and hasattr(store, "close"):
            closed = store.close()
            if inspect.isawaitable(closed):
                await closed
    assert errors == [], errors


def target(bot: Bot) -> str:
    """Where a bot's webhook really is."""
    return f"http://127.0.0.1:{bot.platform.port}{urlsplit(HOOK).path}"  # type: ignore[attr-defined]


Chat = Callable[..., Any]
