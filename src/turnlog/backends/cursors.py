"""The cursor of a page of heads: where the next page goes on, as opaque text that fits in a URL."""

from __future__ import annotations

import base64
import json
import math

from turnlog.errors import InvalidCursorError


def encode_cursor(updated_at: float, session_id: str) -> str:
    """The cursor behind the head that ends a page."""
    return base64.urlsafe_b64encode(json.dumps([float(updated_at), session_id]).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[float, str]:
    """``updated_at`` and id of the last head seen. Raises InvalidCursorError for text that ``encode_cursor`` did not make."""
    try:
        updated_at, session_id = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(session_id, str) or not isinstance(updated_at, float) or not math.isfinite(updated_at):
            raise ValueError("not a time and an id")
        return updated_at, session_id
    except (ValueError, TypeError, RecursionError) as error:
        text = f"{cursor!r:.80} is not a cursor: pass one that a page gave, or None for the first page"
        raise InvalidCursorError(text, cursor=cursor) from error
