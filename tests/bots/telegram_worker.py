"""One worker of a Telegram bot, a process of its own: ``python -m tests.bots.telegram_worker API STORE PREFIX PORT SECONDS JOURNAL``.

It writes to JOURNAL when an answer is sent and when its delivery was noted, so that it is known what a kill fell into.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import AsyncIterator
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from telegram.request import HTTPXRequest

from tests.bots.telegram_api import TOKEN
from tests.bots.telegram_bots import HOOK
from turnlog import Agent
from turnlog.bots import Bot
from turnlog.bots.desk import Desk
from turnlog.session import AsyncRedisSessionStore


def answer(messages: list[ModelMessage]) -> str:
    """How many messages of the user the model was sent, and the last: a turn that is lost, doubled or out of order shows in it."""
    prompts = [part.content for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
    return f"{len(prompts)}: {prompts[-1]}"


def journaled(path: str) -> None:
    """Write down, in a way that survives kill -9, which answers are on their way: from the request until their delivery is noted."""
    journal = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    request, delivered = HTTPXRequest.do_request, Desk.delivered

    async def requesting(self: Any, url: str, method: str, request_data: Any = None, *args: Any, **options: Any) -> Any:
        if url.endswith("/sendMessage"):
            os.write(journal, f"begin {request_data.parameters['chat_id']}\n".encode())
        return await request(self, url, method, request_data, *args, **options)

    async def noted(desk: Desk, state: Any, waiting: Any, **options: Any) -> None:
        await delivered(desk, state, waiting, **options)
        os.write(journal, f"end {waiting.update.chat_id}\n".encode())

    HTTPXRequest.do_request = requesting  # type: ignore[method-assign]
    Desk.delivered = noted  # type: ignore[method-assign]


async def run(api: str, store: str, prefix: str, port: int, seconds: float, journal: str) -> None:
    """Work until killed, or until stdin ends."""

    async def think(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        await asyncio.sleep(seconds)
        return ModelResponse(parts=[TextPart(answer(messages))])

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        await asyncio.sleep(seconds)
        yield answer(messages)

    agent = Agent("Tester", llm=FunctionModel(think, stream_function=stream))
    options: dict[str, Any] = {"token": TOKEN, "base_url": api, "webhook_url": HOOK, "port": port}
    told: dict[str, Any] = {"on_error": lambda error, update: traceback.print_exception(error)}
    bot = Bot("telegram", agent=agent, session_store=AsyncRedisSessionStore(store, prefix=prefix), **told, **options)
    journaled(journal)
    await bot.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await bot.stop()


if __name__ == "__main__":
    api, store, prefix, port, seconds, journal = sys.argv[1:]
    asyncio.run(run(api, store, prefix, int(port), float(seconds), journal))
