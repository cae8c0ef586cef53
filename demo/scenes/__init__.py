"""The scenes, in their order, and what each hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from demo.stage import Stage


@dataclass
class Outcome:
    """What a scene has shown."""

    proof: str
    """One line with the figures of this run."""
    broken: list[str] = field(default_factory=list)
    """Promises that did not hold, in plain words; empty when all did."""
    look: list[tuple[str, str]] = field(default_factory=list)
    """Shell commands for the folder of the demonstration, each with what it shows."""


@dataclass(frozen=True)
class Setting:
    """What a scene is given."""

    stage: Stage
    folder: Path
    """Of this scene alone."""
    seconds: float
    """How long SURVIVE kills, for each store."""


Scene = Callable[[Setting], Outcome]
