"""What pydantic-ai's conversations pay for a turnlog store: a save beside a bare append of the same records."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bench.material import messages
from bench.measure import Bar, Side, interleave, ratio_bar
from bench.plan import Plan
from bench.subjects import settle

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage

    from turnlog.integrations.pydantic_ai import TurnlogConversationStore
    from turnlog.session import AsyncSqliteSessionStore

NAME = "one"
BEGUN = 1_000
"""Messages in the conversation before the first turn that is measured."""
BATCH = 5
"""Turns of one side in a round."""
RECENT = 20
"""Messages of the conversation that are loaded for a run that needs only the recent turns."""
LIMIT = 1.3
"""How many times an append of the bare store a save may cost."""


def pydantic_bars(plan: Plan) -> Iterator[Bar]:
    """A turn of two messages through ``TurnlogConversationStore.save``, beside ``add_messages`` of the same records."""
    from pydantic_ai.conversation import Conversation

    from turnlog.integrations.pydantic_ai import TurnlogConversationStore
    from turnlog.integrations.pydantic_ai.messages import to_stored
    from turnlog.session import AsyncSqliteSessionStore

    folders = {name: plan.folder(f"pydantic-ai/{name}") for name in ("recent", "whole", "bare")}
    stores = {name: AsyncSqliteSessionStore(folder / "sessions.sqlite") for name, folder in folders.items()}
    with asyncio.Runner() as runner, plan.progress.step("pydantic-ai: saving turns"):
        sides = {"bare": _appending(runner, stores["bare"], folders["bare"])}
        runner.run(stores["bare"].add_messages(NAME, to_stored(turn(BEGUN))))
        for name, limit in (("recent", RECENT), ("whole", None)):
            talks = TurnlogConversationStore(stores[name])
            runner.run(talks.save(Conversation(conversation_id=NAME, messages=turn(BEGUN))))
            sides[name] = _saving(runner, talks, limit, folders[name])
        taken = interleave(sides, rounds=plan.rounds, batch=BATCH)
        for store in stores.values():
            runner.run(store.close())
    for name, wanted, most in (("recent", f"the last {RECENT}", LIMIT), ("whole", "all", None)):
        title = f"save, a turn of 2, message {BEGUN:,}, {wanted} loaded"
        yield ratio_bar("pydantic-ai", title, taken[name], taken["bare"], limit=most, against="AsyncSqliteSessionStore.add_messages")


def turn(count: int) -> list[ModelMessage]:
    """That many messages: prompts and answers as a run makes them."""
    from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart
    from pydantic_ai.usage import RequestUsage

    made: list[ModelMessage] = []
    for role, text in islice(messages(), count):
        if role == "user":
            made.append(ModelRequest(parts=[UserPromptPart(text)], run_id="run", conversation_id=NAME))
        else:
            usage = RequestUsage(input_tokens=100, output_tokens=20)
            made.append(ModelResponse(parts=[TextPart(text)], usage=usage, model_name="m", run_id="run", conversation_id=NAME))
    return made


def _saving(runner: asyncio.Runner, talks: TurnlogConversationStore, limit: int | None, folder: Path) -> Side:
    async def run(turns: list[list[ModelMessage]]) -> float:
        seconds = 0.0
        talk = await talks.load(NAME, limit=limit)
        assert talk is not None
        for each in turns:
            talk.messages += each
            begin = time.perf_counter()
            await talks.save(talk)
            seconds += time.perf_counter() - begin
        return seconds

    def side(count: int) -> float:
        seconds = runner.run(run([turn(2) for _ in range(count)]))
        settle(folder)
        return seconds

    return side


def _appending(runner: asyncio.Runner, store: AsyncSqliteSessionStore, folder: Path) -> Side:
    from turnlog.integrations.pydantic_ai.messages import to_stored

    async def run(turns: list[list[ModelMessage]]) -> float:
        seconds = 0.0
        for each in turns:
            records = to_stored(each)
            begin = time.perf_counter()
            await store.add_messages(NAME, records)
            seconds += time.perf_counter() - begin
        return seconds

    def side(count: int) -> float:
        seconds = runner.run(run([turn(2) for _ in range(count)]))
        settle(folder)
        return seconds

    return side
