"""What a turn of a bot costs a store: calls of the backend's port, each of which is a round trip to a database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.bots.conftest import RunBot
from tests.bots.models import Model
from tests.bots.stores import Open

CALLS = ("get_head", "put_head", "remove_head", "append", "read", "drop_records", "put_row", "get_rows", "drop_rows", "list_heads")


def counted(backend: Any) -> Counter[str]:
    """The calls of the port from now on."""
    calls: Counter[str] = Counter()

    def count(name: str) -> None:
        plain = getattr(backend, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            calls[name] += 1
            return await plain(*arguments, **named)

        setattr(backend, name, call)

    for name in CALLS:
        count(name)
    return calls


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_a_turn_asks_the_store_no_more_than_it_must(kind: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        store = opened(kind)()
        # So slow that what an agent keeps of an unfinished turn would be kept.
        async with run_bot(store, model=Model(0.02), lease=1000) as running:
            await running.say("hello", "bob")
            calls = counted(store.backend if kind == "redis" else store._core.backend)
            await running.say("first")
            first = calls.total()
            await running.say("second")
            print(kind, first, calls.total() - first)
            assert first <= 14
            assert calls.total() - first <= 11

    asyncio.run(run())
