"""What reading the end of a long session costs: beside parsing alone, in memory, and in a process that has just started."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.floors import parse
from bench.measure import Bar, Series, each, interleave, ratio_bar, time_bar
from bench.plan import Plan
from bench.subjects import LONG, Subject

LAST = 50
PARSING = 4.0
ADDED_MB = 8.0
OPENING_MS = 5.0
SOURCE = Path(__file__).parents[1] / "src"


def read_bars(plan: Plan, subject: Subject) -> Iterator[Bar]:
    """All bars on reading the last messages of one store's long session."""
    folder = subject.long_folder(plan)
    with subject.open(folder, "process") as store:
        lines = [json.dumps(message) for message in store.get_chat_history(LONG, LAST)]
        sides = {"ours": each(lambda: store.get_chat_history(LONG, LAST)), "floor": each(lambda: parse(lines))}
        with plan.progress.step(f"{subject.group}: reading the last {LAST}"):
            taken = interleave(sides, rounds=plan.rounds, batch=20)
    name = f"last {LAST} of {plan.long:,}"
    yield ratio_bar(subject.group, name, taken["ours"], taken["floor"], limit=PARSING, against=f"json.loads of {LAST} lines")
    with plan.progress.step(f"{subject.group}: opening in new processes"):
        cold = [_opened_cold(subject, folder, loaded=True) for _ in range(plan.processes)]
        whole = [_opened_cold(subject, folder, loaded=False) for _ in range(plan.processes)]
    added = [figures["added"] / 1e6 for figures in cold]
    yield Bar(
        group=subject.group,
        name=f"{name}, memory added",
        unit="MB",
        value=median(added),
        low=min(added),
        high=max(added),
        limit=ADDED_MB,
    )
    opening = Series(tuple(figures["seconds"] for figures in cold))
    yield time_bar(subject.group, f"{name}, opened cold", opening, limit_ms=OPENING_MS)
    loading = Series(tuple(figures["seconds"] for figures in whole))
    yield time_bar(subject.group, f"{name}, opened cold, with loading the code", loading, limit_ms=None)


def _opened_cold(subject: Subject, folder: Path, *, loaded: bool) -> dict[str, float]:
    place = str(folder / subject.file)
    arguments = [str(SOURCE), subject.store, subject.keyword, place, LONG, str(LAST), str(int(loaded))]
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("cold.py")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"opening {subject.group} in a new process failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
