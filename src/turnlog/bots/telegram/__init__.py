"""The Telegram platform: python-telegram-bot's Bot, by long polling or by webhook. ``pip install 'turnlog[telegram]'``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from turnlog.bots.platform import TokenError

if TYPE_CHECKING:
    from turnlog.bots.telegram.platform import Telegram

VARIABLE = "TELEGRAM_BOT_TOKEN"
"""The environment variable that holds the token where none is given."""


def make(*, token: str | None = None, **options: Any) -> Telegram:
    """The platform; ``options`` are those of ``Telegram``. Raises TokenError, ImportError with the pip command, TypeError, ValueError."""
    found = token or os.environ.get(VARIABLE)
    if not found:
        raise TokenError(f"there is no token for Telegram: pass token=…, or set {VARIABLE} to the one that @BotFather gave")
    try:
        from turnlog.bots.telegram.platform import Telegram
    except ModuleNotFoundError as error:
        if error.name not in ("telegram", "uvicorn"):
            raise
        raise ImportError("a Telegram bot needs python-telegram-bot and uvicorn: pip install 'turnlog[telegram]'") from error
    return Telegram(found, **options)
