"""The numbered cases: how one is declared, and all of them in order."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from turnlog.testing.trial import Trial

Level = Literal["quick", "full"]
Need = Literal["place", "process", "max_messages", "async", "make_newer"]
Check = Callable[["Trial"], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One numbered case: ``<promise>.<case>`` and a sentence that the store must make true."""

    number: str
    title: str
    check: Check
    five: bool
    """Whether five methods can keep this, so that it is put to every store; else to full stores only."""
    level: Level
    needs: tuple[Need, ...]
    seconds: float
    """The time limit at the quick level; the full level gives six times as much."""

    @property
    def order(self) -> tuple[int, ...]:
        """The number as integers, for sorting."""
        return tuple(int(part) for part in self.number.split("."))

    def belongs_to(self, prefix: str) -> bool:
        """Whether ``prefix`` names this case or the promise that it is part of."""
        return self.number == prefix or self.number.startswith(f"{prefix.rstrip('.')}.")


_cases: dict[str, Case] = {}


def case(
    number: str, title: str, *, five: bool = False, level: Level = "quick", needs: Iterable[Need] = (), seconds: float = 20.0
) -> Callable[[Check], Check]:
    """Declare the decorated function as the case ``number``."""

    def declare(check: Check) -> Check:
        if number in _cases:
            raise ValueError(f"case {number} is declared twice: {_cases[number].title!r} and {title!r}")
        _cases[number] = Case(number, title, check, five, level, tuple(needs), seconds)
        return check

    return declare


def all_cases() -> list[Case]:
    """Every case of the kit, in order of number."""
    from turnlog.testing import contracts

    for module in pkgutil.iter_modules(contracts.__path__):
        importlib.import_module(f"{contracts.__name__}.{module.name}")
    return sorted(_cases.values(), key=lambda one: one.order)


def choose(*, five: bool, level: Level, only: Iterable[str]) -> list[Case]:
    """The cases for a five-method class or a full store; ``only`` narrows them to numbers or promises (``3.1``)."""
    wanted = list(only)
    known = all_cases()
    for prefix in wanted:
        if not any(one.belongs_to(prefix) for one in known):
            raise ValueError(f"no case or promise has the number {prefix!r}: python -m turnlog.testing --list shows them all")
    return [
        one
        for one in known
        if (one.five or not five) and (level == "full" or one.level == "quick") and (not wanted or any(one.belongs_to(p) for p in wanted))
    ]
