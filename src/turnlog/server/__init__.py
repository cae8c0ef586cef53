"""An agent as an OpenAI-compatible chat endpoint, whose requests may name a session. Names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnlog.server.app import agent_app as agent_app
    from turnlog.server.running import AddressError as AddressError
    from turnlog.server.running import serve_agent as serve_agent
    from turnlog.server.tokens import TokenFileError as TokenFileError
    from turnlog.server.tokens import Tokens as Tokens

_HOMES = {
    "AddressError": "running",
    "TokenFileError": "tokens",
    "Tokens": "tokens",
    "agent_app": "app",
    "serve_agent": "running",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # the names above, spelled out for type checkers under TYPE_CHECKING


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = globals()[name] = getattr(importlib.import_module(f"turnlog.server.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise ImportError("serving an agent needs starlette and uvicorn: pip install 'turnlog[serve]'") from error
    return value


def __dir__() -> list[str]:
    return __all__
