"""Verbs that look across sessions: listings, search, recent."""

from __future__ import annotations

from typing import Any

from turnlog.backends.port import Query
from turnlog.heads import Head
from turnlog.messages import SessionMessage
from turnlog.store.core import check_size
from turnlog.store.drive import verb
from turnlog.store.reading import Reading, check_limit, context
from turnlog.store.values import SessionHit, SessionInfo, SessionSummary, iso_time, session_info, title_of

PAGE = 200
SNIPPET = 120
"""Characters of a snippet."""


class Listing(Reading):
    """Looks across sessions; listings read heads only."""

    @verb
    async def page_sessions(self, query: Query, page_size: int = 50, cursor: str | None = None) -> tuple[list[SessionInfo], str | None]:
        """One page of sessions, last changed first, and the cursor of the next (None after the last). ``iter_sessions`` walks them."""
        check_size(page_size, "page_size")
        self._check_open()
        page = await self.backend.list_heads(query, cursor=cursor, limit=page_size)
        return [session_info(head, page.cursor) for head in page.heads], page.cursor

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

    @verb
    async def search(self, query: str, *, limit: int = 5, window: int = 5) -> list[SessionHit]:
        """The sessions whose kept messages hold the words of ``query``, best first, each with the ``window`` messages around the best one.

        Upper and lower case are the same. A message scores 1 for each word it holds and 2 for the whole phrase;
        ties go to the session changed last. Reads every session: time grows with what is stored.
        """
        check_limit(window)
        phrase = " ".join(query.split()).casefold()
        words = set(phrase.split())
        hits = []
        for head in await self._heads(Query(), None) if words else []:
            hit = await self._search_in(head, phrase, words, window)
            if hit is not None:
                hits.append(hit)
        hits.sort(key=lambda hit: -hit.score)
        return hits[: check_limit(limit)]

    async def _search_in(self, head: Head, phrase: str, words: set[str], window: int) -> SessionHit | None:
        found = await self._read_all(head.session_id)
        if found is None:
            return None
        head, records = found
        best, best_score, total = -1, 0.0, 0.0
        for index, record in enumerate(records):
            text = " ".join(message_text(SessionMessage.from_record(record).content).split()).casefold()
            score = sum(1.0 for word in words if word in text) + (2.0 if phrase in text else 0.0)
            total += score
            if score > best_score:
                best, best_score = index, score
        if best < 0:
            return None
        return SessionHit(
            session_id=head.session_id,
            title=title_of(head) or head.fields.get("agent_name") or head.session_id,
            when=iso_time(head.updated_at),
            snippet=snippet(message_text(SessionMessage.from_record(records[best]).content), phrase, words),
            score=total,
            anchor_index=best,
            messages=context(records, best, window),
        )

    async def _heads(self, query: Query, limit: int | None) -> list[Head]:
        self._check_open()
        heads: list[Head] = []
        cursor: str | None = None
        while limit is None or len(heads) < limit:
            size = PAGE if limit is None else min(PAGE, limit - len(heads))
            page = await self.backend.list_heads(query, cursor=cursor, limit=size)
            heads += page.heads
            if page.cursor is None:
                break
            cursor = page.cursor
        return heads


def message_text(content: Any) -> str:
    """The text of a message's content: itself, or the text of its parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(
            message_text(part.get("text", part.get("content"))) if isinstance(part, dict) else message_text(part) for part in content
        )
    return ""


def snippet(text: str, phrase: str, words: set[str]) -> str:
    """A piece of ``text`` around the first match."""
    flat = " ".join(text.split())
    folded = flat.casefold()
    places = [at for at in (folded.find(part) for part in (phrase, *sorted(words))) if at >= 0]
    start = max(0, (places[0] if places else 0) - SNIPPET // 2)
    piece = flat[start : start + SNIPPET]
    return ("…" if start else "") + piece + ("…" if start + SNIPPET < len(flat) else "")
