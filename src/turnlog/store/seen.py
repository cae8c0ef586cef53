"""The heads that a store has seen last, so that a fork need not read its parent's anew."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock

from turnlog.backends.port import Appended
from turnlog.heads import Head


class Seen:
    """Up to ``most`` heads, by session; the one that was noted longest ago goes first.

    Each may be out of date: whoever acts on one has the engine compare it. Nobody may change the ``fields`` of a head that was noted.
    """

    __slots__ = ("_heads", "_lock", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._heads: dict[str, Head] = {}
        self._lock = Lock()

    def get(self, session_id: str) -> Head | None:
        """The head, if it is remembered."""
        return self._heads.get(session_id)

    def note(self, head: Head) -> None:
        """Remember a head as it was just read."""
        with self._lock:
            self._heads.pop(head.session_id, None)
            self._heads[head.session_id] = head
            if len(self._heads) > self._most:
                del self._heads[next(iter(self._heads))]

    def grow(self, session_id: str, by: int, done: Appended, now: float) -> None:
        """Let a head follow an append of ``by`` records at ``now``; one that somebody else has changed meanwhile is forgotten."""
        with self._lock:
            head = self._heads.get(session_id)
            if head is None or done.known:
                return
            grown = replace(head, counter=head.counter + 1, length=head.length + by, updated_at=now)
            if grown.revision == done.revision:
                self._heads[session_id] = grown
            else:
                del self._heads[session_id]

    def forget(self, session_id: str) -> None:
        """Remember the session's head no longer: it was changed, or is out of date."""
        with self._lock:
            self._heads.pop(session_id, None)

    def clear(self) -> None:
        """Forget every head."""
        with self._lock:
            self._heads.clear()
