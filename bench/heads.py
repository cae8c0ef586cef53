"""What forks, snapshots and reverts of a long SQLite session cost, and what thousands of them do to appends and reads."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count, cycle
from typing import Any

from bench.appends import appending
from bench.floors import OneRow
from bench.material import build, history
from bench.measure import Bar, Series, Side, each, interleave, ratio_bar
from bench.plan import Plan
from bench.reads import LAST
from bench.subjects import SQLITE, settle

GROUP = SQLITE.group
HEAD_LIMIT = 2.0
SAME = 1.2
"""How much dearer an append or a read may be after many forks, snapshots and reverts: noise, not growth."""
CALM = 1_000
"""Messages in the session that nothing was done to."""


def head_bars(plan: Plan) -> Iterator[Bar]:
    """Fork, snapshot and revert beside writing one row."""
    folder = plan.folder("tree")
    with SQLITE.open(folder, "process") as store:
        build(plan, store, "tree", plan.tree, what=GROUP)
    settle(folder)
    for durability in ("power", "process"):
        with SQLITE.open(folder, durability) as store:
            row = OneRow(plan.folder("one-row") / f"{durability}.sqlite", durability)
            sides = {"one row": each(row.write), **_head_sides(plan, store)}
            with plan.progress.step(f'{GROUP}: forks, snapshots and reverts, durability "{durability}"'):
                taken = interleave(sides, rounds=plan.rounds // 2, batch=5 if durability == "power" else 10)
            row.close()
        # Without a wait for the disk the floor is ten microseconds, less than reading a head takes: worth knowing, no bar.
        limit = HEAD_LIMIT if durability == "power" else None
        for name in list(sides)[1:]:
            text = f'{name} ({plan.tree:,} messages), "{durability}"'
            yield ratio_bar(GROUP, text, taken[name], taken["one row"], limit=limit, against="one row written by hand")


def _head_sides(plan: Plan, store: Any) -> dict[str, Side]:
    last = store.get_session_tree("tree")["message_count"] - 1
    marks = [store.create_snapshot("tree", "the end")]
    store.revert_to_message("tree", last - 1)
    marks.append(store.create_snapshot("tree", "one earlier"))
    earlier, marked = count(last - 2, -1), cycle(marks)
    return {
        "fork": each(lambda: store.fork_session("tree", plan.tree // 2)),
        "snapshot": each(lambda: store.create_snapshot("tree")),
        "revert to a message": each(lambda: store.revert_to_message("tree", next(earlier))),
        "revert to a snapshot": each(lambda: store.revert_to_snapshot("tree", next(marked))),
    }


def aftermath_bars(plan: Plan) -> Iterator[Bar]:
    """Appends and reads of a session with many forks, snapshots and reverts behind it, beside one with none."""
    folder = plan.folder("aftermath")
    with SQLITE.open(folder, "process") as store:
        for session_id in ("calm", "retried", "patchwork"):
            store.add_messages(session_id, history(CALM))
        _wear(plan, store, "retried", kept=0)
        _wear(plan, store, "patchwork", kept=1)
        after = f"after {plan.head_operations:,} forks, snapshots, reverts"
        reads = {name: each(partial(store.get_chat_history, name, LAST)) for name in ("calm", "retried", "patchwork")}
        with plan.progress.step(f"{GROUP}: reading and appending {after}"):
            read = interleave(reads, rounds=plan.rounds, batch=20)
            added = interleave(_appends(store), rounds=plan.rounds, batch=20)
    yield _beside(f"last {LAST} {after}", read["retried"], read["calm"], SAME)
    yield _beside(f"append {after}", added["retried"], added["calm"], SAME)
    # Here no two neighbours of the history lie side by side: one answer of two was taken back each time.
    yield _beside(f"append after {plan.head_operations:,} reverts that left seams", added["patchwork"], added["calm"], SAME)
    yield _beside(f"last {LAST} with a seam behind each message", read["patchwork"], read["calm"], None)


def _appends(store: Any) -> dict[str, Side]:
    def to(session_id: str) -> Side:
        return appending(lambda: partial(store.add_message, session_id))

    return {name: to(name) for name in ("calm", "retried", "patchwork")}


def _beside(name: str, worn: Series, calm: Series, limit: float | None) -> Bar:
    return ratio_bar(GROUP, name, worn, calm, limit=limit, against="a session without any")


def _wear(plan: Plan, store: Any, session_id: str, *, kept: int) -> None:
    """Fork, mark and revert again and again. Each time an answer is taken back after ``kept`` messages that stay."""
    with plan.progress.step(f"{GROUP}: {plan.head_operations:,} forks, snapshots and reverts of one session") as step:
        for number in range(plan.head_operations):
            store.add_messages(session_id, history(kept + 1))
            store.fork_session(session_id, CALM // 2)
            store.create_snapshot(session_id)
            store.revert_to_message(session_id, CALM - 1 + kept * (number + 1))
            step.far(number, plan.head_operations)
