"""Requests to Discord: what goes wrong as a DeliveryError or a TokenError."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import aiohttp
import discord

from turnlog.bots.platform import DeliveryError, TokenError

T = TypeVar("T")

TIMEOUT = 90.0
"""Seconds without an answer after which a request counts as lost, discord.py's own waiting for rate limits included."""
UNKNOWN_TOKEN = "Discord does not know the token: take the one of the bot's page in the Developer Portal, or reset it there"
AUTHENTICATION_FAILED = 4004
"""The gateway's code for a token that it does not know."""


async def asked(request: Awaitable[T]) -> T:
    """What Discord gives. Raises DeliveryError, as TokenError where it does not know the token."""
    try:
        async with asyncio.timeout(TIMEOUT):
            return await request
    except (discord.DiscordException, aiohttp.ClientError, OSError, RuntimeError) as error:
        failure = told(error)
        if failure is None:
            raise
    # Out of the handler: the library's texts may quote what was sent.
    raise failure


def told(error: BaseException) -> DeliveryError | None:
    """The error of ours that says it, with nothing of a message's content and no token; None for one that is no failure of Discord's."""
    if isinstance(error, discord.RateLimited):
        return DeliveryError(f"Discord asks to wait {error.retry_after:g} s", retry_after=error.retry_after)
    if isinstance(error, discord.LoginFailure):
        return TokenError(UNKNOWN_TOKEN)
    if isinstance(error, discord.HTTPException):
        return _of_answer(error)
    if isinstance(error, discord.PrivilegedIntentsRequired):
        return DeliveryError("Discord does not give the client its intents: enable them in the Developer Portal", permanent=True)
    if isinstance(error, discord.ConnectionClosed):
        if error.code == AUTHENTICATION_FAILED:
            return TokenError(UNKNOWN_TOKEN)
        return DeliveryError(f"Discord closed the connection (code {error.code})")
    if isinstance(error, TimeoutError):
        return DeliveryError("Discord does not answer in time")
    if isinstance(error, (aiohttp.ClientError, OSError, discord.GatewayNotFound)) or "Session is closed" in str(error):
        return DeliveryError(f"Discord cannot be reached ({type(error).__name__})")
    return None


def _of_answer(error: discord.HTTPException) -> DeliveryError:
    """An answer that is no success."""
    reason = f"status {error.status}, code {error.code}"
    if error.status == 429:
        wait = _seconds(error)
        return DeliveryError(f"Discord asks to wait {wait:g} s", retry_after=wait)
    if error.status == 401:
        return TokenError(UNKNOWN_TOKEN)
    if error.status >= 500:
        return DeliveryError(f"Discord fails ({reason})")
    if isinstance(error, discord.Forbidden):
        return DeliveryError(f"Discord does not let the bot do that ({reason})", permanent=True)
    return DeliveryError(f"Discord refuses that ({reason})", permanent=True)


def _seconds(error: discord.HTTPException) -> float:
    """How long a 429 asks to wait; 5 s where it does not tell."""
    headers = getattr(error.response, "headers", {})
    try:
        return float(headers.get("Retry-After", ""))
    except ValueError:
        return 5.0
