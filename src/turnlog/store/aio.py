"""AsyncSessionStore: the full store, as coroutines. The sync store is the same, driven."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from turnlog.backends.port import Query
from turnlog.store.drive import verb
from turnlog.store.labels import Labels
from turnlog.store.portability import Portability
from turnlog.store.sweeping import Sweeping
from turnlog.store.values import SessionInfo


class AsyncSessionStore(Portability, Labels, Sweeping):
    """A full store over a backend, for event loops.

    Over a blocking backend (files, SQLite) every verb runs whole in a worker thread, with one hop. A verb that is
    cancelled may still take place, whole.
    """

    async def iter_sessions(
        self,
        *,
        prefix: str = "",
        agent_name: str | None = None,
        user_id: str | None = None,
        since: float | None = None,
        until: float | None = None,
        page_size: int = 50,
        cursor: str | None = None,
    ) -> AsyncIterator[SessionInfo]:
        """The sessions that match, last changed first, read page by page.

        ``since`` (inclusive) and ``until`` (exclusive) are seconds since the epoch, on the last change.
        Each line's ``cursor`` goes on after its page.
        """
        query = Query(prefix=prefix, agent_name=agent_name, user_id=user_id, since=since, until=until)
        while True:
            lines, cursor = await self.page_sessions(query, page_size, cursor)
            for line in lines:
                yield line
            if cursor is None:
                return

    async def invalidate_cache(self, session_id: str | None = None) -> None:
        """Nothing to do: every read sees what is stored. Kept for code that calls it."""

    @verb
    async def close(self) -> None:
        """Release the backend. Idempotent; every other verb then raises ClosedStoreError."""
        if not self._closed:
            self._closed = True
            self._seen.clear()
            await self.backend.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
