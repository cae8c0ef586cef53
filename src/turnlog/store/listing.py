"""Verbs that list sessions. They read heads only, and leave expired sessions out."""

from __future__ import annotations

from typing import Any

from turnlog.backends.port import Query
from turnlog.heads import Head
from turnlog.store.core import alive, check_size
from turnlog.store.drive import verb
from turnlog.store.reading import check_limit
from turnlog.store.searching import Searching
from turnlog.store.values import SessionInfo, SessionSummary, iso_time, session_info, title_of

PAGE = 200


class Listing(Searching):
    """Looks across sessions."""

    @verb
    async def page_sessions(self, query: Query, page_size: int = 50, cursor: str | None = None) -> tuple[list[SessionInfo], str | None]:
        """One page of sessions, last changed first, and the cursor of the next (None after the last). ``iter_sessions`` walks them.

        Expired sessions are left out, unless the query asks for them (``expired_at``).
        """
        check_size(page_size, "page_size")
        heads, after = await self._page(query, page_size, cursor)
        return [session_info(head, after) for head in heads], after

    @verb
    async def list_sessions(self, limit: int = 50) -> list[dict[str, Any]]:
        """The sessions last changed, newest first, as dicts with ``session_id``, ``title``, ``message_count`` and more."""
        return [session_info(head, None).to_dict() for head in await self._heads(Query(), check_limit(limit))]

    @verb
    async def list_sessions_by_agent(self, agent_name: str, limit: int = 50) -> list[str]:
        """The ids of an agent's sessions, last changed first."""
        return [head.session_id for head in await self._heads(Query(agent_name=agent_name), check_limit(limit))]

    @verb
    async def recent(self, *, limit: int = 10) -> list[SessionSummary]:
        """The sessions last changed, newest first, as short summaries."""
        heads = await self._heads(Query(), check_limit(limit))
        return [
            SessionSummary(
                head.session_id, title_of(head) or head.fields.get("agent_name") or head.session_id, iso_time(head.updated_at), head.count
            )
            for head in heads
        ]

    async def _heads(self, query: Query, limit: int | None) -> list[Head]:
        heads: list[Head] = []
        cursor: str | None = None
        while limit is None or len(heads) < limit:
            more, cursor = await self._page(query, PAGE if limit is None else min(PAGE, limit - len(heads)), cursor)
            heads += more
            if cursor is None:
                break
        return heads

    async def _page(self, query: Query, size: int, cursor: str | None) -> tuple[list[Head], str | None]:
        """``size`` heads, or all that are left, and the cursor of the next page."""
        self._check_open()
        heads: list[Head] = []
        while True:
            page = await self.backend.list_heads(query, cursor=cursor, limit=size - len(heads))
            heads += [head for head in page.heads if query.expired_at is not None or alive(head)]
            cursor = page.cursor
            if cursor is None or len(heads) == size:
                return heads, cursor
