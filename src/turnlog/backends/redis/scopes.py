"""Which sessions a thread of this process is about to change by compare-and-set, so that appends of the other threads let it through."""

from __future__ import annotations

import os
from threading import Lock, RLock
from types import TracebackType


class _Gate:
    """The lock of one session, and how many threads want it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = RLock()
        self.users = 0


class Scopes:
    """The sessions that are held now. For coroutines that never suspend; the locks are re-entrant."""

    def __init__(self) -> None:
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._gates: dict[str, _Gate] = {}
        self._lock = Lock()
        self._process = os.getpid()

    @property
    def any(self) -> bool:
        """Whether any session is held."""
        return bool(self._gates)

    def over(self, session_id: str) -> Scope:
        """The scope that holds a session; threads that want the same one take turns."""
        return Scope(self, session_id)

    def pass_by(self, session_id: str) -> None:
        """Wait until no other thread holds the session."""
        if session_id in self._gates:
            self.enter(session_id)
            self.leave(session_id)

    def enter(self, session_id: str) -> None:
        """Hold a session."""
        if self._process != os.getpid():
            # After a fork: the locks may be held by threads that are not here.
            self._start_afresh()
        with self._lock:
            gate = self._gates.setdefault(session_id, _Gate())
            gate.users += 1
        gate.lock.acquire()

    def leave(self, session_id: str) -> None:
        """Let it go."""
        with self._lock:
            gate = self._gates[session_id]
            gate.users -= 1
            if not gate.users:
                del self._gates[session_id]
        gate.lock.release()


class Scope:
    """A session held by a coroutine that never suspends."""

    __slots__ = ("_scopes", "_session_id")

    def __init__(self, scopes: Scopes, session_id: str) -> None:
        self._scopes, self._session_id = scopes, session_id

    async def __aenter__(self) -> None:
        self._scopes.enter(self._session_id)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._scopes.leave(self._session_id)
