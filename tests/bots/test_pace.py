"""Drafts and answers keep to the pace that a platform bears."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest

from tests.bots.conftest import RunBot
from tests.bots.edge import Edge, eventually
from turnlog.bots import DeliveryError
from turnlog.session import InMemorySessionStore


class Timed(Edge):
    """It writes down when it was asked to show something, also where it refused that."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.times: list[float] = []

    def _act(self, what: str, address: dict[str, Any], text: str) -> None:
        self.times.append(time.monotonic())
        super()._act(what, address, text)

    @property
    def pauses(self) -> list[float]:
        """Seconds between one time and the next."""
        return [later - earlier for earlier, later in itertools.pairwise(self.times)]


def test_edits_keep_to_the_platforms_pace_the_last_one_too(run_bot: RunBot) -> None:
    async def run() -> None:
        # The answer takes 0.9 s: its draft is edited last within 0.4 s before the end.
        edge = Timed(edit_every=0.4)
        async with run_bot(InMemorySessionStore(), edge=edge) as running:
            await running.say("slowly " + "x" * 353)
            assert len(edge.times) >= 3
            assert min(edge.pauses) >= 0.39
            assert edge.screen() == ["1: slowly " + "x" * 353]

    asyncio.run(run())


@pytest.mark.parametrize("refused", ["send", "edit"])
def test_after_a_refused_draft_the_answer_comes_when_the_platform_said(refused: str, run_bot: RunBot) -> None:
    async def run() -> None:
        edge = Timed(edit_every=0.05)
        async with run_bot(InMemorySessionStore(), edge=edge) as running:
            if refused == "send":
                edge.refusals = [DeliveryError("too many requests", retry_after=1.0)]
            await running.edge.deliver("slowly " + "x" * 100)
            if refused == "edit":
                await eventually(running.edge.sent)
                edge.refusals = [DeliveryError("too many requests", retry_after=1.0)]
            await running.bot.idle()
            assert edge.refusals == []
            assert edge.pauses[-1] >= 0.99
            assert edge.screen() == ["1: slowly " + "x" * 100]

    asyncio.run(run())
