"""What other frameworks' agents pay for a turnlog store: their adapter beside the bare store, and beside the framework's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from bench.adapters_pydantic import pydantic_bars
from bench.material import history, messages
from bench.measure import Bar, Side, interleave, ratio_bar
from bench.plan import Plan
from bench.subjects import settle

SESSION = "one"
BEGUN = 1_000
"""Messages in the session before the first turn that is measured."""
TURN = 2
"""Messages of a turn: a question and its answer."""
BATCH = 5
"""Turns of one side in a round."""
BARE = 1.3
"""How many times an append of the bare store an adapter's may cost."""
OWN = 1.0
"""The same beside the framework's own store."""

Add = Callable[[list[dict[str, Any]]], Awaitable[Any]]


def adapter_bars(plan: Plan) -> Iterator[Bar]:
    """All bars on adapters, of the frameworks that are installed here."""
    for package, bars in ADAPTERS.items():
        if find_spec(package) is not None:
            yield from bars(plan)


def openai_agents_bars(plan: Plan) -> Iterator[Bar]:
    """A turn handed to openai-agents' Session: TurnlogSession, the store it stands on, and the framework's SQLiteSession."""
    from agents.memory import SQLiteSession

    from turnlog.integrations.openai_agents import TurnlogSession
    from turnlog.session import AsyncSqliteSessionStore

    folders = {name: plan.folder(f"openai-agents/{name}") for name in ("adapter", "bare", "own")}
    ours = TurnlogSession(SESSION, f"sqlite://{folders['adapter'].resolve()}/sessions.sqlite")
    bare = AsyncSqliteSessionStore(folders["bare"] / "sessions.sqlite")
    own = SQLiteSession(SESSION, folders["own"] / "items.db")
    adds: dict[str, Add] = {
        "adapter": ours.add_items,  # type: ignore[dict-item]  # plain dicts will do
        "bare": lambda items: bare.add_messages(SESSION, items),
        "own": own.add_items,  # type: ignore[dict-item]
    }
    with asyncio.Runner() as runner, plan.progress.step("openai-agents: adding turns"):
        for add in adds.values():
            runner.run(_fill(add))
        sides = {name: _adding(runner, add, folders[name]) for name, add in adds.items()}
        taken = interleave(sides, rounds=plan.rounds, batch=BATCH)
        for store in (ours, bare):
            runner.run(store.close())
        own.close()
    title = f"add_items, a turn of {TURN}, message {BEGUN:,}"
    for floor, limit, against in (("bare", BARE, "AsyncSqliteSessionStore.add_messages"), ("own", OWN, "SQLiteSession of openai-agents")):
        name = f"{title}, beside {'the store' if floor == 'bare' else 'its own'}"
        yield ratio_bar("openai-agents", name, taken["adapter"], taken[floor], limit=limit, against=against)


ADAPTERS: dict[str, Callable[[Plan], Iterator[Bar]]] = {"agents": openai_agents_bars, "pydantic_ai": pydantic_bars}
"""The bars of each adapter, under the module whose presence says that its framework is installed."""


async def _fill(add: Add) -> None:
    await add(history(BEGUN))


def _adding(runner: asyncio.Runner, add: Add, folder: Path) -> Side:
    """The side that adds turns inside a running loop, behind which all it has written reaches the disk."""
    stream = messages()

    async def run(turns: list[list[dict[str, Any]]]) -> float:
        begin = time.perf_counter()
        for turn in turns:
            await add(turn)
        return time.perf_counter() - begin

    def side(count: int) -> float:
        turns = [[{"role": role, "content": text} for role, text in islice(stream, TURN)] for _ in range(count)]
        seconds = runner.run(run(turns))
        settle(folder)
        return seconds

    return side
