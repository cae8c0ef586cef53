"""Who may talk to the bot and how much, and when a new conversation begins by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.bots.conftest import RunBot
from tests.bots.edge import eventually
from tests.bots.stores import QUICK, Open
from turnlog.bots import working
from turnlog.bots.limits import Limits
from turnlog.bots.resets import Resets


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_is_told_once_and_ends() -> None:
    clock = Clock()
    limits = Limits(rate=(2, 10), clock=clock)
    assert [limits.judge("a", str(n)) for n in range(4)] == ["welcome", "welcome", "too many", "silence"]
    assert limits.judge("b", "9") == "welcome"
    assert limits.judge("a", "0") == "repeated"
    clock.now += 10
    assert [limits.judge("a", str(n)) for n in range(10, 13)] == ["welcome", "welcome", "too many"]


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="rate must be"):
        Limits(rate=(0, 5))
    with pytest.raises(TypeError, match="must be a list"):
        Limits(allow="alice")
    for wrong in ("daily", "daily@24:00", "daily@4:00", "04:00"):
        with pytest.raises(ValueError, match="daily@HH:MM"):
            Resets(daily=wrong)
    with pytest.raises(ValueError, match="more than 0 minutes"):
        Resets(idle=0)


def at(text: str, zone: Any = UTC) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        ("2026-03-01 03:59", "2026-03-01 04:00", True),
        ("2026-03-01 04:00", "2026-03-01 23:59", False),
        ("2026-03-01 23:00", "2026-03-02 03:59", False),
        ("2026-03-01 23:00", "2026-03-02 04:01", True),
        ("2026-03-01 05:00", "2026-03-09 03:00", True),
    ],
)
def test_a_day_ends_at_its_hour(last: str, now: str, due: bool) -> None:
    assert Resets(daily="daily@04:00", zone=UTC).due(at(last), at(now)) is due


def test_a_day_ends_at_the_hour_of_its_zone_also_where_clocks_change() -> None:
    lisbon = ZoneInfo("Europe/Lisbon")
    resets = Resets(daily="daily@04:00", zone=lisbon)
    # Clocks went forward in the night of the 29th.
    assert not resets.due(at("2026-03-28 04:00", lisbon), at("2026-03-29 03:59", lisbon))
    assert resets.due(at("2026-03-29 03:59", lisbon), at("2026-03-29 04:00", lisbon))


def test_silence_ends_a_conversation() -> None:
    resets = Resets(idle=30)
    assert not resets.due(None, 10_000)
    assert not resets.due(10_000, 10_000 + 30 * 60)
    assert resets.due(10_000, 10_001 + 30 * 60)


@pytest.mark.parametrize("kind", QUICK)
def test_a_reset_survives_restarts(kind: str, run_bot: RunBot, opened: Callable[[str], Open], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()]
    monkeypatch.setattr("turnlog.bots.bot.time.time", lambda: now[0])

    async def run(text: str) -> str:
        async with run_bot(opened(kind)(), idle=30, lease=1e9) as running:
            return await running.say(text, number=text)

    assert asyncio.run(run("one")) == "1: one"
    now[0] += timedelta(minutes=29).total_seconds()
    assert asyncio.run(run("two")) == "2: two"
    now[0] += timedelta(minutes=31).total_seconds()
    assert asyncio.run(run("three")) == "1: three"
    # A command is no word of the conversation.
    now[0] += timedelta(minutes=20).total_seconds()
    asyncio.run(run("/status"))
    now[0] += timedelta(minutes=20).total_seconds()
    assert asyncio.run(run("four")) == "1: four"
    assert "3 " not in asyncio.run(run("/sessions"))


def test_strangers_are_told_once_and_stored_nowhere(run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        store = opened("memory")()
        async with run_bot(store, allow=["alice", 7]) as running:
            assert await running.say("hello") == "1: hello"
            assert await running.say("hello", "7") == "1: hello"
            for _ in range(3):
                await running.edge.deliver("let me in", "mallory")
            await eventually(lambda: running.edge.screen("mallory"))
            assert len(running.edge.screen("mallory")) == 1
            assert "not on my list" in running.edge.screen("mallory")[0]
            assert not [line for line in store.list_sessions() if "mallory" in line["session_id"]]

    asyncio.run(run())


def test_too_many_are_told_once_and_are_no_turns(run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        store = opened("memory")()
        async with run_bot(store, rate=(3, 3600)) as running:
            for number in range(20):
                await running.edge.deliver(f"m{number}")
            await running.bot.idle()
            assert await running.say("hello", "bob") == "1: hello"
            assert running.model.asked[:3] == ["m0", "m1", "m2"]
            assert len(running.edge.screen()) == 4
            assert sum("too many" in text for text in running.edge.screen()) == 1
            assert len(store.get_messages("bot_edge_alice")) == 6

    asyncio.run(run())


def test_the_look_around_is_often_enough() -> None:
    assert working.LOOK_EVERY <= 10
