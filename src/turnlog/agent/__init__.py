"""An agent that remembers: pydantic-ai's loop over a turnlog session. Names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnlog.agent.agent import Agent as Agent
    from turnlog.agent.conversation import Conversation as Conversation
    from turnlog.agent.conversation import NoInterruptedTurnError as NoInterruptedTurnError
    from turnlog.agent.memory import Memory as Memory
    from turnlog.agent.models import ModelNotConfiguredError as ModelNotConfiguredError
    from turnlog.agent.remote import AgentUnavailableError as AgentUnavailableError
    from turnlog.agent.running import TurnResult as TurnResult
    from turnlog.agent.sessions import Session as Session

_HOMES = {
    "Agent": "agent",
    "AgentUnavailableError": "remote",
    "Conversation": "conversation",
    "Memory": "memory",
    "ModelNotConfiguredError": "models",
    "NoInterruptedTurnError": "conversation",
    "Session": "sessions",
    "TurnResult": "running",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # the names above, spelled out for type checkers under TYPE_CHECKING


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"turnlog.agent.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
