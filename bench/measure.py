"""Interleaved measurement: all sides of a comparison run in every round, and a ratio is taken between neighbours in time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

Side = Callable[[int], float]
"""Does an operation that many times and gives the seconds they took together. What it prepares before is not counted."""

WARM_ROUNDS = 2
"""Rounds at the beginning that are not counted: files are opened, statements prepared, pages read."""


@dataclass(frozen=True, slots=True)
class Series:
    """Seconds that one operation took, one figure a round."""

    rounds: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.rounds)

    @property
    def mean(self) -> float:
        """What an operation costs over the whole run, rare long ones included."""
        return sum(self.rounds) / len(self.rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One measured figure beside the limit that it must not pass; a limit of None makes it a figure to know."""

    group: str
    name: str
    unit: str
    """"x" for a ratio to ``against``, else ms, MB or a thing counted."""
    value: float
    low: float
    high: float
    limit: float | None = None
    ours: float | None = None
    """Seconds for one operation of turnlog."""
    floor: float | None = None
    """Seconds for one operation of ``against``."""
    against: str = ""
    mean: float | None = None
    """The ratio of the means; it counts rare long operations, and the noise of the machine."""

    @property
    def holds(self) -> bool:
        """Whether the figure keeps to its limit."""
        return self.limit is None or self.value <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """All fields and the verdict, as JSON types."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "holds": self.holds}


def each(operation: Callable[[], object]) -> Side:
    """The side that just calls ``operation``."""

    def run(count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            operation()
        return time.perf_counter() - begin

    return run


def interleave(sides: Mapping[str, Side], *, rounds: int, batch: int) -> dict[str, Series]:
    """Run all sides in turn, ``batch`` operations each, ``rounds`` times; every other round in the opposite order."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    there, back = list(sides.items()), list(sides.items())[::-1]
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number in range(WARM_ROUNDS + rounds):
            for name, side in back if number % 2 else there:
                seconds = side(batch) / batch
                if number >= WARM_ROUNDS:
                    taken[name].append(seconds)
    finally:
        if collecting:
            gc.enable()
    return {name: Series(tuple(figures)) for name, figures in taken.items()}


def ratio_bar(group: str, name: str, ours: Series, floor: Series, *, limit: float | None, against: str) -> Bar:
    """How many times ``floor`` an operation costs: the median of the ratios of the rounds."""
    ratios = [one / other for one, other in zip(ours.rounds, floor.rounds, strict=True)]
    return Bar(
        group=group,
        name=name,
        unit="x",
        value=median(ratios),
        low=min(ratios),
        high=max(ratios),
        limit=limit,
        ours=ours.middle,
        floor=floor.middle,
        against=against,
        mean=ours.mean / floor.mean,
    )


def time_bar(group: str, name: str, ours: Series, *, limit_ms: float | None) -> Bar:
    """What an operation costs in milliseconds."""
    figures = [seconds * 1e3 for seconds in ours.rounds]
    return Bar(
        group=group, name=name, unit="ms", value=median(figures), low=min(figures), high=max(figures), limit=limit_ms, ours=ours.middle
    )
