"""What a ttl and an age may be, and the error for one that means nothing."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta

from turnlog.errors import SessionError

LONGEST_TTL = 100 * 365 * 86_400.0
"""Seconds; a session that shall live longer has no ttl."""

Age = float | timedelta | datetime


class InvalidArgumentError(SessionError, ValueError):
    """A ttl, an age, or conditions of an erasure that mean nothing; nothing was written. Attributes: ``name``, ``value``."""


def check_ttl(ttl: object) -> float | None:
    """``ttl`` as seconds; None for never."""
    if ttl is None:
        return None
    if _is_number(ttl) and 0 < ttl <= LONGEST_TTL:  # type: ignore[operator]
        return float(ttl)  # type: ignore[arg-type]
    text = f"ttl must be a number of seconds above 0 and up to {LONGEST_TTL:.0f}, or None for never, not {ttl!r:.80}"
    raise InvalidArgumentError(text, name="ttl", value=ttl)


def moment_before(older_than: object) -> float:
    """The moment, in seconds since the epoch, before which lies what is ``older_than``: seconds, a timedelta, or a moment with its zone."""
    now = time.time()
    if isinstance(older_than, timedelta) and older_than >= timedelta(0):
        return now - older_than.total_seconds()
    if isinstance(older_than, datetime) and older_than.tzinfo is not None:
        return older_than.timestamp()
    if _is_number(older_than) and older_than >= 0:  # type: ignore[operator]
        return now - older_than  # type: ignore[operator]
    text = f"older_than must be seconds (0 or more), a timedelta, or a datetime with a time zone, not {older_than!r:.80}"
    raise InvalidArgumentError(text, name="older_than", value=older_than)


def check_named(value: object, name: str) -> None:
    """Raise InvalidArgumentError unless ``value`` is None or a non-empty str."""
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidArgumentError(f"{name} must be a non-empty str or None, not {value!r:.80}", name=name, value=value)


def _is_number(value: object) -> bool:
    # A whole number of any size compares with a float, and not every one becomes one.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
