"""Many at once: as many sessions as tasks, and several tasks on one session, through an async store and through the bare async driver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import islice
from typing import Any

from bench.material import messages
from bench.measure import Bar, Side, interleave, ratio_bar
from bench.plan import Plan

SESSIONS = 64
WRITERS = 8
"""Tasks that write to one session."""
LIMIT = 1 / 0.8
"""Times the bare driver's time: four fifths of its throughput."""
OURS, FLOOR = "ours", "floor"
Add = Callable[[str, str, str], Coroutine[Any, Any, object]]
"""Appends to a session, given its id, a role and a text."""


def names(side: str) -> list[str]:
    """The ids of the sessions that a side writes to: one for each task, then one for all writers."""
    return [*(f"{side} many {number}" for number in range(SESSIONS)), f"{side} one"]


def crowd_bars(plan: Plan, group: str, runner: asyncio.Runner, *, ours: Add, floor: Add, batch: int, against: str) -> Iterator[Bar]:
    """Both bars; each task appends ``batch`` messages a round.

    The sessions of ``names(FLOOR)`` must be there; those of ``names(OURS)`` come to be before anything is measured.
    """
    adds = {OURS: ours, FLOOR: floor}
    *many, one = names(OURS)
    for name in (*many, one):
        runner.run(ours(name, "user", "Go on."))
    *floors, floor_one = names(FLOOR)
    for text, tasks, limit in (
        (f"append, {SESSIONS} sessions at once, async", {OURS: many, FLOOR: floors}, LIMIT),
        (f"append, {WRITERS} writers on one session, async", {OURS: [one] * WRITERS, FLOOR: [floor_one] * WRITERS}, None),
    ):
        sides = {side: _together(runner, adds[side], tasks[side]) for side in adds}
        with plan.progress.step(f"{group}: {text}"):
            taken = interleave(sides, rounds=max(10, plan.rounds // 3), batch=batch)
        yield ratio_bar(group, text, taken[OURS], taken[FLOOR], limit=limit, against=against)


def _together(runner: asyncio.Runner, add: Add, sessions: Sequence[str]) -> Side:
    """The side on which a task for each of ``sessions`` appends, all at once; a figure is the time of all by their number."""

    async def write(session_id: str, texts: list[tuple[str, str]]) -> None:
        for role, text in texts:
            await add(session_id, role, text)

    async def all_write(texts: list[tuple[str, str]]) -> float:
        begin = time.perf_counter()
        await asyncio.gather(*(write(session_id, texts) for session_id in sessions))
        return (time.perf_counter() - begin) / len(sessions)

    return lambda size: runner.run(all_write(list(islice(messages(), size))))
