"""The heads that a store has seen last, so that a fork need not read its parent's anew."""

from __future__ import annotations

from dataclasses import replace

from turnlog.backends.port import Appended
from turnlog.heads import Head

MOST = 256
"""Heads that are remembered; the one that was noted longest ago goes first."""


class Seen:
    """Heads by session. Each may be out of date: whoever acts on one has the engine compare its revision.

    Safe among threads, as each step is one operation on a dict. Nobody may change the ``fields`` of a head that was noted.
    """

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[str, Head] = {}

    def note(self, head: Head) -> None:
        """Remember a head as it was just read."""
        self._heads.pop(head.session_id, None)
        self._heads[head.session_id] = head
        while len(self._heads) > MOST:
            self._heads.pop(next(iter(self._heads), ""), None)

    def grow(self, session_id: str, by: int, done: Appended) -> None:
        """Let a head follow an append of ``by`` records; one that somebody else has changed meanwhile is forgotten."""
        head = self._heads.get(session_id)
        if head is None or done.known:
            return
        grown = replace(head, counter=head.counter + 1, length=head.length + by)
        if grown.revision == done.revision:
            self._heads[session_id] = grown
        else:
            self._heads.pop(session_id, None)

    def take(self, session_id: str) -> Head | None:
        """The head, if one is remembered; it is forgotten, so that whoever was misled by it reads it anew."""
        return self._heads.pop(session_id, None)
