"""Requests to the Bot API: what goes wrong as a DeliveryError or a TokenError, and no token in any log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

from telegram import Bot
from telegram.error import BadRequest, Forbidden, InvalidToken, TelegramError, TimedOut
from telegram.request import HTTPXRequest

from turnlog.bots.platform import DeliveryError, TokenError

T = TypeVar("T")

CONNECTIONS = 12
"""Requests at one time, which is some hundred a second; Telegram bears about thirty. Of more connections httpx looks at every one for
every request."""
TIMEOUT = 30.0
"""Seconds without an answer after which a request counts as lost. It may have been done all the same."""


class FloodError(TelegramError):
    """Too many requests (429). ``seconds``: how long Telegram asks to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many requests: wait {seconds:g} s")
        self.seconds = seconds


class Request(HTTPXRequest):
    """python-telegram-bot's requests, but for 429, of which it warns that its own error will change, and for waiting in line."""

    def __init__(self, connections: int, **options: Any) -> None:
        super().__init__(connection_pool_size=connections, **options)
        # httpx goes through its whole line for every request; and who waits in this one has no timeout running.
        self._line = asyncio.Semaphore(connections)

    async def do_request(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        """Make a request; gives status and body. Raises FloodError, TelegramError."""
        async with self._line:
            status, body = await super().do_request(*args, **kwargs)
        if status == 429:
            raise FloodError(_seconds(body))
        return status, body


class _Redaction(logging.Filter):
    """Takes tokens out of records: httpx logs the address of every request, and the token is a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if any(token in text for token in self.tokens):
            record.msg, record.args = self.redacted(text), None
        return True

    def redacted(self, text: str) -> str:
        for token in self.tokens:
            text = text.replace(token, "<token>")
        return text


_REDACTION = _Redaction()


def open_bot(token: str, base_url: str) -> Bot:
    """A Bot that no request was made with. ``base_url``: the server's root. Its tokens do not come into httpx's logs."""
    _REDACTION.tokens.add(token)
    for name in ("httpx", "telegram.Bot"):
        # A filter that is there is not added again.
        logging.getLogger(name).addFilter(_REDACTION)
    root = base_url.rstrip("/").removesuffix("/bot")
    times: dict[str, Any] = {"read_timeout": TIMEOUT, "write_timeout": TIMEOUT, "connect_timeout": 10.0, "pool_timeout": TIMEOUT}
    return Bot(
        token,
        base_url=f"{root}/bot",
        base_file_url=f"{root}/file/bot",
        request=Request(CONNECTIONS, **times),
        get_updates_request=Request(1, **times),
    )


async def asked(request: Awaitable[T]) -> T:
    """What the Bot API gives. Raises DeliveryError, as TokenError where it does not know the token."""
    try:
        return await request
    except TelegramError as error:
        failure = told(error)
    # Out of the handler, so that no text of the library's is at the error: one of them holds the token.
    raise failure


def told(error: TelegramError) -> DeliveryError:
    """The error of ours that says it, with nothing of a message's content and no token."""
    if isinstance(error, FloodError):
        return DeliveryError(f"Telegram asks to wait {error.seconds:g} s", retry_after=error.seconds)
    if isinstance(error, InvalidToken):
        return TokenError("Telegram does not know the token: take the one that @BotFather gave, without blanks around it")
    # The words behind a colon may quote the message.
    reason = _REDACTION.redacted(str(error)).split(":")[0][:100].rstrip(". ")
    if isinstance(error, Forbidden):
        return DeliveryError(f"Telegram does not let the bot do that ({reason})", permanent=True)
    if isinstance(error, BadRequest):
        return DeliveryError(f"Telegram refuses that ({reason})", permanent=True)
    if isinstance(error, TimedOut):
        return DeliveryError("Telegram does not answer in time")
    return DeliveryError(f"Telegram cannot be reached, or fails ({type(error).__name__}: {reason})")


def _seconds(body: bytes) -> float:
    """How long a 429 asks to wait; 1 s where it does not tell."""
    try:
        return float(json.loads(body)["parameters"]["retry_after"])
    except (ValueError, KeyError, TypeError):
        return 1.0
