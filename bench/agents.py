"""What a turn of an agent costs on a JSON session, beside pydantic-ai's own loop that is handed its history and stores nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from bench.material import history as earlier
from bench.measure import Bar, Side, interleave, ratio_bar
from bench.plan import Plan

MODEL_SECONDS = 0.02
"""How long the model takes to answer."""
LIMIT = 1.05
BEGUN = 10_000
"""Messages in the session before the first turn."""
WINDOW = 20
"""Earlier messages that the model is sent."""
BATCH = 5
ROUNDS = 20


def agent_bars(plan: Plan) -> Iterator[Bar]:
    """The bar on an agent's turn. Needs pydantic-ai, and is empty without."""
    try:
        from pydantic_ai import Agent as Loop
    except ImportError:
        return
    from turnlog import Agent
    from turnlog.session import DefaultSessionStore

    model = _model()
    store = DefaultSessionStore(plan.folder("agent"))
    store.add_messages("chat", earlier(BEGUN))
    agent = Agent(llm=model, memory={"session_id": "chat", "store": store, "history_limit": WINDOW})
    bare = Loop(model)
    runner = asyncio.Runner()
    history: list[Any] = []

    async def bare_turn() -> None:
        result = await bare.run("Go on.", message_history=history[-WINDOW:])
        history.extend(result.new_messages())

    async def turn() -> None:
        await agent.achat("Go on.")

    with runner, plan.progress.step("turns of an agent"):
        sides: dict[str, Side] = {"agent": _side(runner, turn), "bare": _side(runner, bare_turn)}
        series = interleave(sides, rounds=min(plan.rounds, ROUNDS), batch=BATCH)
    store.close()
    name = f"a turn, model of {MODEL_SECONDS * 1e3:.0f} ms, message {BEGUN:,}, power"
    yield ratio_bar("agent", name, series["agent"], series["bare"], limit=LIMIT, against="pydantic-ai with message_history")


def _side(runner: asyncio.Runner, turn: Any) -> Side:
    async def several(count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            await turn()
        return time.perf_counter() - begin

    return lambda count: runner.run(several(count))


def _model() -> Any:
    """A model in this process that answers after its time."""
    from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
    from pydantic_ai.models.function import AgentInfo, FunctionModel

    async def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        await asyncio.sleep(MODEL_SECONDS)
        return ModelResponse(parts=[TextPart("Noted, and on we go.")])

    return FunctionModel(respond)
