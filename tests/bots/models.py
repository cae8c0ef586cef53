"""Models for bots: what they answer depends only on what they were sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pydantic_ai.messages import BinaryContent, ModelMessage, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from turnlog import Agent


class Model:
    """Says how many messages of users it was sent, and the last. "long 5000" gives so many characters, "fail" fails.

    ``seconds`` it takes to answer; ``asked`` is all it was asked, ``at_once`` the most it was asked at one time. ``gate``: what it
    waits for.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked: list[str] = []
        self.at_once = 0
        self.gate: asyncio.Event | None = None
        self._now = 0

    def agent(self, **options: Any) -> Agent:
        """An agent with this model."""
        return Agent("Tester", llm=FunctionModel(self._answer, stream_function=self._stream), **options)

    async def _answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart(await self._text(messages))])

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        text = await self._text(messages)
        for start in range(0, len(text), 8):
            yield text[start : start + 8]
            if "slowly" in text:
                await asyncio.sleep(0.02)
        if "break" in text:
            raise ConnectionError("the model broke off")

    async def _text(self, messages: list[ModelMessage]) -> str:
        prompts = [part.content for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
        last = _said(prompts[-1])
        self.asked.append(last)
        self._now += 1
        self.at_once = max(self.at_once, self._now)
        try:
            await asyncio.sleep(self.seconds)
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self._now -= 1
        if last.startswith("fail"):
            raise ConnectionError("the model did not answer: secret")
        if last.startswith("long "):
            return "word " * (int(last.split()[1]) // 5)
        return f"{len(prompts)}: {last}"


def _said(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(f"[{each.media_type}, {len(each.data)}]" if isinstance(each, BinaryContent) else str(each) for each in content)
