"""Texts of any length as texts that an index takes: PostgreSQL refuses index entries above 2,704 bytes."""

from __future__ import annotations

from hashlib import sha256

from turnlog.backends.text_keys import after_prefix, to_key

LONGEST = 1_900
"""Bytes up to which a key is kept whole. A longer one, cut and hashed, is always longer than this, so the two never meet."""
LONGEST_TAG = 200
"""The same for texts that are only ever compared as a whole."""
_SAFE = 1_800
"""Bytes of a prefix that every key that begins with it begins with, cut or not."""


def index_key(text: str) -> tuple[str, str | None]:
    """The key of ``text`` as an index keeps it, and the whole key where that one is cut.

    Order and prefixes are those of the text, except among texts that share their first 1,900 bytes.
    """
    key = to_key(text)
    # No character is longer than four bytes.
    if len(key) * 4 <= LONGEST or len(key.encode()) <= LONGEST:
        return key, None
    return _cut(key, LONGEST), key


def tag(text: str) -> str:
    """``text`` as something to compare as a whole."""
    key = to_key(text)
    return key if len(key) * 4 <= LONGEST_TAG or len(key.encode()) <= LONGEST_TAG else _cut(key, LONGEST_TAG)


def prefix_bounds(prefix: str) -> tuple[str, str | None, str | None]:
    """Of the keys that begin with ``prefix``: where they start and stop, and the whole key of the prefix if these do not suffice."""
    key = to_key(prefix)
    start = key.encode()[:_SAFE].decode(errors="ignore")
    return start, after_prefix(start), key if start != key else None


def _cut(key: str, limit: int) -> str:
    data = key.encode()
    return data[:limit].decode(errors="ignore") + sha256(data).hexdigest()
