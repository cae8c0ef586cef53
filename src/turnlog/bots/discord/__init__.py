"""The Discord platform: discord.py's Client, through the gateway. ``pip install 'turnlog[discord]'``."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from turnlog.bots.platform import TokenError

if TYPE_CHECKING:
    from turnlog.bots.discord.platform import Discord

VARIABLE = "DISCORD_BOT_TOKEN"
"""The environment variable that holds the token where none is given."""


def make(*, token: str | None = None, **options: Any) -> Discord:
    """The platform; ``options`` are those of ``Discord``. Raises TokenError, ImportError with the pip command, TypeError."""
    found = token or os.environ.get(VARIABLE)
    if not found and options.get("client") is None:
        raise TokenError(f"there is no token for Discord: pass token=…, or set {VARIABLE} to the one of the bot's page, Developer Portal")
    try:
        with warnings.catch_warnings():
            # discord.py imports it for voice, which no bot of ours uses.
            warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
            from turnlog.bots.discord.platform import Discord
    except ModuleNotFoundError as error:
        if error.name not in ("discord", "aiohttp"):
            raise
        raise ImportError("a Discord bot needs discord.py: pip install 'turnlog[discord]'") from error
    return Discord(found or "", **options)
