"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["torn", "foreign", "colliding", "orphan", "corrupt", "leftover", "permissions", "newer-format"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. ``text`` says what, and holds no content of messages."""

    kind: Kind
    path: str
    text: str
    fix: str | None = None
    """What mends it: what ``examine(fix=True)`` does, or what is left to the user."""
    fixed: bool = False


OTHERS = 0o077
"""The rights of anybody but the owner."""
