"""Requests to Slack: what goes wrong as a DeliveryError or a TokenError, and no secret in any log."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable
from typing import TypeVar

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

from turnlog.bots.platform import DeliveryError, TokenError

T = TypeVar("T")

TIMEOUT = 30
"""Seconds without an answer after which a request counts as lost. It may have been done all the same."""
BAD_TOKEN = ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "not_allowed_token_type")
PASSING = ("internal_error", "fatal_error", "request_timeout", "service_unavailable", "team_added_to_org", "accesslimited")
"""Slack's errors after which the same request may succeed."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")


class RefusedError(DeliveryError):
    """Slack refused a request for good. ``code``: its own word for why."""

    code: str


class _Redaction(logging.Filter):
    """Takes out of the libraries' records what nobody is to read: addresses of connections, which are as good as a token."""

    IDLE = ("`token` will be unused", "SLACK_BOT_TOKEN env variable) will be ignored")
    """slack-bolt looks into the environment for a token, too, and says so."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        record.msg, record.args = re.sub(r"(?:wss?|https?)://\S+|x(?:ox[a-z]|app)-[\w-]+", "<secret>", text), None
        # Traces hold them too, and Slack being away is no fault of anybody's code.
        record.exc_info = record.exc_text = None
        return not any(words in text for words in self.IDLE)


def quiet_logger() -> logging.Logger:
    """The logger that slack_sdk and slack_bolt are given."""
    logger = logging.getLogger("turnlog.bots.slack.library")
    if not logger.filters:
        logger.addFilter(_Redaction())
    return logger


async def asked(request: Awaitable[T]) -> T:
    """What Slack gives. Raises DeliveryError, as TokenError where it does not take the token."""
    try:
        async with asyncio.timeout(TIMEOUT):
            return await request
    except (SlackClientError, aiohttp.ClientError, OSError) as error:
        failure = told(error)
    # Out of the handler: the library's texts hold the whole answer.
    raise failure


def told(error: Exception) -> DeliveryError:
    """The error of ours that says it, with nothing of a message's content and no token."""
    if not isinstance(error, SlackApiError):
        what = "does not answer in time" if isinstance(error, TimeoutError) else f"cannot be reached ({type(error).__name__})"
        return DeliveryError(f"Slack {what}")
    status: int = getattr(error.response, "status_code", 0) or getattr(error.response, "status", 0)
    data = getattr(error.response, "data", None)
    code = str(data.get("error", "")) if isinstance(data, dict) else ""
    if not _NAME.fullmatch(code):
        code = ""
    if status == 429 or code in ("ratelimited", "rate_limited", "message_limit_exceeded"):
        wait = _seconds(getattr(error.response, "headers", {}))
        return DeliveryError(f"Slack asks to wait {wait:g} s", retry_after=wait)
    if code in BAD_TOKEN:
        return TokenError(f"Slack does not take the token ({code}): take those of the app's pages, and install the app in the workspace")
    if not code or code in PASSING or status >= 500:
        return DeliveryError(f"Slack fails ({code or f'status {status}'})")
    return RefusedError(f"Slack refuses that ({code})", permanent=True, code=code)


def _seconds(headers: object) -> float:
    """How long a 429 asks to wait; 5 s where it does not tell."""
    found = {str(name).lower(): value for name, value in dict(headers).items()}.get("retry-after")  # type: ignore[call-overload]
    try:
        return float(found or "")
    except ValueError:
        return 5.0
