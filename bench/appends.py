"""What an append costs: beside the floor, with and without power-loss durability, in a session just begun and in a long one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from bench.floors import JsonLines, SqliteRows
from bench.material import messages
from bench.measure import WARM_ROUNDS, Bar, Side, interleave, ratio_bar
from bench.plan import Plan
from bench.subjects import BEGUN, JSON, LONG, SQLITE, Subject, settle

Add = Callable[[str, str], Any]
BATCH = {"power": 10, "process": 40}
"""Appends of one side in a round: a few milliseconds."""
LIMITS = {
    (JSON, "power"): (1.3, "json.dumps, flock, pwrite, fdatasync"),
    (JSON, "process"): (6.0, "json.dumps, flock, pwrite"),
    (SQLITE, "power"): (1.5, "the same rows and indexes by hand"),
    (SQLITE, "process"): (1.5, "the same rows and indexes by hand"),
}
GROWTH = 1.2


def append_bars(plan: Plan, subject: Subject) -> Iterator[Bar]:
    """All bars on appends to one store."""
    for durability in ("power", "process"):
        yield from _bars(plan, subject, durability)


def appending(prepare: Callable[[], Add]) -> Side:
    """The side that appends by what ``prepare`` gives for each round."""
    stream = messages()

    def run(count: int) -> float:
        add = prepare()
        pairs = list(islice(stream, count))
        begin = time.perf_counter()
        for role, text in pairs:
            add(role, text)
        return time.perf_counter() - begin

    return run


def _bars(plan: Plan, subject: Subject, durability: str) -> Iterator[Bar]:
    rounds = plan.rounds * (1 if durability == "power" else 2)
    long = subject.long_folder(plan)
    short = subject.short_folder(plan, durability, WARM_ROUNDS + rounds)
    floors = _floors(plan, subject, durability)
    settle(plan.scratch)
    begun, later = subject.open(short, durability), subject.open(long, durability)
    names = (str(number) for number in range(WARM_ROUNDS + rounds))
    sides = {
        "begun": appending(lambda: _touched(begun, next(names))),
        "floor begun": appending(floors.begun),
        "long": appending(lambda: _touched(later, LONG)),
        "floor long": appending(floors.long),
    }
    limit, against = LIMITS[subject, durability]
    with plan.progress.step(f'{subject.group}: appending, durability "{durability}"'):
        taken = interleave(sides, rounds=rounds, batch=BATCH[durability])
    for store in (begun, later, floors):
        store.close()
    title = f'append, "{durability}", message'
    for place, name in ((BEGUN, "begun"), (plan.long, "long")):
        yield ratio_bar(subject.group, f"{title} {place:,}", taken[name], taken[f"floor {name}"], limit=limit, against=against)
    text = f"{title} {plan.long:,} beside {BEGUN}"
    yield ratio_bar(subject.group, text, taken["long"], taken["begun"], limit=GROWTH, against=f"message {BEGUN} of a new session")


def _touched(store: Any, session_id: str) -> Add:
    """The store's append to a session that it has appended to before."""
    store.add_message(session_id, "user", "Go on.")
    return partial(store.add_message, session_id)


class _JsonFloors:
    def __init__(self, plan: Plan, subject: Subject, durability: str) -> None:
        folder = plan.folder(f"floor-json-{durability}")
        self._paths = (folder / f"{number}.jsonl" for number in range(10**9))
        self._durability = durability
        source = max(subject.long_folder(plan).rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else -1)
        self._long = JsonLines(_copy(source, folder / "long.jsonl"), durability)
        self._begun: JsonLines | None = None

    def begun(self) -> Add:
        if self._begun is not None:
            self._begun.close()
        self._begun = floor = JsonLines(next(self._paths), self._durability)
        for role, text in islice(messages(), BEGUN):
            floor.add(role, text)
        floor.settle()
        return floor.add

    def long(self) -> Add:
        return self._long.add

    def close(self) -> None:
        for floor in (self._long, self._begun):
            if floor is not None:
                floor.close()


class _SqliteFloors:
    def __init__(self, plan: Plan, subject: Subject, durability: str) -> None:
        folder = plan.folder(f"floor-sqlite-{durability}")
        sources = {"long": subject.long_folder(plan), "begun": plan.folder(f"{subject.store}-short-{durability}")}
        paths = {name: _copy(source / subject.file, folder / f"{name}.sqlite") for name, source in sources.items()}
        self._long, self._begun = (SqliteRows(paths[name], durability) for name in ("long", "begun"))
        self._long.choose(LONG)
        self._numbers = iter(range(10**9))

    def begun(self) -> Add:
        self._begun.choose(str(next(self._numbers)))
        self._begun.add("user", "Go on.")
        return self._begun.add

    def long(self) -> Add:
        return self._long.add

    def close(self) -> None:
        self._long.close()
        self._begun.close()


def _floors(plan: Plan, subject: Subject, durability: str) -> _JsonFloors | _SqliteFloors:
    return (_JsonFloors if subject is JSON else _SqliteFloors)(plan, subject, durability)


def _copy(source: Path, target: Path) -> Path:
    shutil.copyfile(source, target)
    return target
