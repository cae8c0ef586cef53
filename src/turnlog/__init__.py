"""turnlog keeps the conversations of LLM agents and bots: the stores are in turnlog.session; agents and turns by hand are here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from turnlog.agent import Agent as Agent
    from turnlog.agent import Memory as Memory
    from turnlog.agent import Memory as MemoryConfig
    from turnlog.agent import Session as Session
    from turnlog.turns import turn as turn

_HOMES = {
    "Agent": "turnlog.agent:Agent",
    "Memory": "turnlog.agent:Memory",
    "MemoryConfig": "turnlog.agent:Memory",
    "Session": "turnlog.agent:Session",
    "turn": "turnlog.turns:turn",
}

__all__ = ["Agent", "Memory", "MemoryConfig", "Session", "turn"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Not kept here: a submodule may be imported under its own name later.
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
