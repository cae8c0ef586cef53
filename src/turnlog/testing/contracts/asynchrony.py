"""Cases 2.60 to 2.69: what an async store adds: the loop goes on, and a cancelled call leaves nothing half done."""

from __future__ import annotations

import asyncio
from typing import Any

from turnlog.testing.checks import holds, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import check_whole_turns, texts, turn


@case("2.60", "Tasks of one loop append side by side: turns are whole, and nothing is lost", five=True, needs=["async"])
def tasks(trial: Trial) -> None:
    raw, count = trial.raw, trial.many(40, 400)

    async def write(writer: int) -> None:
        for number in range(count // 4):
            await raw.add_message("s", "user", f"w{writer} {number}")

    async def run() -> None:
        await asyncio.gather(*(write(writer) for writer in range(4)))

    trial.loop.run(run)
    seen = texts(trial.store.get_chat_history("s"))
    same(sorted(seen), sorted(f"w{w} {n}" for w in range(4) for n in range(count // 4)), "the texts")


@case("2.61", "The event loop goes on while a store works: no verb blocks it for long", needs=["async", "place"])
def loop_goes_on(trial: Trial) -> None:
    raw = trial.raw
    ticks = 0

    async def tick(done: asyncio.Event) -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            await asyncio.sleep(0)

    async def run() -> None:
        done = asyncio.Event()
        ticker = asyncio.ensure_future(tick(done))
        await raw.add_messages("s", [{"role": "user", "content": f"{i} {'x' * 2000}"} for i in range(1500)])
        await raw.get_chat_history("s")
        done.set()
        await ticker

    trial.loop.run(run)
    holds(ticks > 3, "other tasks run while a large turn is written and read", f"{ticks} rounds of another task")


@case("2.62", "A cancelled append is stored whole or not at all, and the store goes on", needs=["async"], seconds=40)
def cancelled(trial: Trial) -> None:
    raw = trial.raw

    async def cancel(number: int) -> Any:
        task = asyncio.ensure_future(raw.add_messages("s", turn("c", number)))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        task.cancel()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    async def run() -> list[Any]:
        return [await cancel(number) for number in range(trial.many(40, 300))]

    results = trial.loop.run(run)
    # A call that was cancelled may still be on its way in a thread: it can come after the next one, but never into it.
    for number in range(3):
        trial.store.add_messages("s", turn("after", number))
    seen = set(check_whole_turns(trial.store.get_chat_history("s"), ordered=False))
    acknowledged = {f"c {number}" for number, answer in enumerate(results) if answer is True}
    holds(acknowledged <= seen, "every acknowledged turn is there", sorted(acknowledged - seen)[:5])
