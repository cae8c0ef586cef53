"""Bots: an agent on a chat platform, one session per user, on any store. Names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnlog.bots.bot import Bot as Bot
    from turnlog.bots.platform import Command as Command
    from turnlog.bots.platform import DeliveryError as DeliveryError
    from turnlog.bots.platform import Photo as Photo
    from turnlog.bots.platform import Platform as Platform
    from turnlog.bots.platform import Receive as Receive
    from turnlog.bots.platform import TokenError as TokenError
    from turnlog.bots.platform import Update as Update

_HOMES = {
    "Bot": "bot",
    "Command": "platform",
    "DeliveryError": "platform",
    "TokenError": "platform",
    "Photo": "platform",
    "Platform": "platform",
    "Receive": "platform",
    "Update": "platform",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # the names above, spelled out for type checkers under TYPE_CHECKING


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"turnlog.bots.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
