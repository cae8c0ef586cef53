"""Planted faults in full stores: search that finds too much, too little, or in another order, with an index and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.verify.planting import fault
from turnlog.backends.port import Match
from turnlog.backends.sqlite import SqliteBackend
from turnlog.heads import Head
from turnlog.session import InMemorySessionStore, SessionStore, SqliteSessionStore


@fault("2.90")
class SearchesPiecesOfWords(InMemorySessionStore):
    """Finds a word within another."""

    def search(self, query: str, *, limit: int = 5, window: int = 5) -> Any:
        found = super().search(query, limit=limit, window=window)
        for line in [] if found else self.list_sessions():
            for index, message in enumerate(self.get_messages(line["session_id"])):
                if query.casefold() in str(message.content).casefold():
                    return super().search(str(message.content).split()[index % 1])
        return found


@fault("2.90")
class AddsUp(InMemorySessionStore):
    """The score of a session is the sum over its messages."""

    def search(self, query: str, *, limit: int = 5, window: int = 5) -> Any:
        hits = super().search(query, limit=1000, window=window)
        words = set(query.casefold().split())
        sums = []
        for hit in hits:
            texts = [str(message.content).casefold().split() for message in self.get_messages(hit.session_id)]
            sums.append(replace(hit, score=hit.score + sum(len(words & set(text)) for text in texts) - 1))
        return sorted(sums, key=lambda hit: -hit.score)[:limit]


@fault("2.90")
class ById(InMemorySessionStore):
    """Equal scores are in the order of ids."""

    def search(self, query: str, *, limit: int = 5, window: int = 5) -> Any:
        hits = super().search(query, limit=1000, window=window)
        return sorted(hits, key=lambda hit: (-hit.score, hit.session_id))[:limit]


@fault("2.90")
class OldestOfEquals(InMemorySessionStore):
    """Of equally good messages shows the first."""

    def search(self, query: str, *, limit: int = 5, window: int = 5) -> Any:
        hits = super().search(query, limit=limit, window=window)
        words = set(query.casefold().split())
        for at, hit in enumerate(hits):
            texts = [str(message.content).casefold().split() for message in self.get_messages(hit.session_id)]
            first = next((index for index, text in enumerate(texts) if hit.score == 1 and words & set(text)), hit.anchor_index)
            hits[at] = replace(hit, anchor_index=first)
        return hits


@fault("2.90")
class CutsBeforeItSorts(InMemorySessionStore):
    """Takes the newest sessions that hold a word, as many as asked for, and sorts these."""

    def search(self, query: str, *, limit: int = 5, window: int = 5) -> Any:
        newest = [line["session_id"] for line in self.list_sessions(1000)]
        hits = super().search(query, limit=1000, window=window)
        kept = sorted(hits, key=lambda hit: newest.index(hit.session_id))[:limit]
        return [hit for hit in hits if hit in kept]


@fault("2.91")
class FindsNoForks(InMemorySessionStore):
    """Finds a message in the session that it was written to only."""

    def search(self, query: str, **options: Any) -> Any:
        return [hit for hit in super().search(query, **options) if self.get_parent(hit.session_id) is None]


class Searching(SqliteSessionStore):
    """SQLite with an index of words."""

    backend_class: type[SqliteBackend] = SqliteBackend

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        SessionStore.__init__(self, self.backend_class(path, search=True, **options), max_messages)


@fault("2.91")
class IndexKnowsOwnersOnly(Searching):
    """Looks for what the index gives in the owner of the record, not in its forks."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)

        async def showing(session_id: str, run: str, seq: int) -> list[Head]:
            head = await self._core._head(session_id)
            return [head] if head is not None and head.run == run else []

        self._core._showing = showing  # type: ignore[method-assign]


@fault("2.91")
class IndexKnowsFirstForksOnly(Searching):
    """Looks for what the index gives in the forks of its owner, not in theirs."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        whole = self._core._showing

        async def showing(session_id: str, run: str, seq: int) -> list[Head]:
            near = {claim.child_run for claim in await self._core._shared.references(session_id, run)}  # type: ignore[union-attr]
            return [head for head in await whole(session_id, run, seq) if head.run == run or head.run in near]

        self._core._showing = showing  # type: ignore[method-assign]


@fault("2.91")
class IndexShowsReverted(Searching):
    """Shows what the index gives, wherever the history ends by now."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        whole = self._core._places

        async def places(head: Head, run: str) -> Any:
            return await whole(replace(head, past=(), past_count=0, tail=0), run) if head.run == run else await whole(head, run)

        self._core._places = places  # type: ignore[method-assign]


@fault("2.91")
class IndexShowsExpired(Searching):
    """Shows what the index gives, whether its session has expired or not."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self._core._head = self._core._stored  # type: ignore[method-assign]


class FewMatches(SqliteBackend):
    """Gives three matches, however many are asked for."""

    async def find(self, words: Sequence[str], *, limit: int) -> list[Match]:
        return await super().find(words, limit=min(limit, 3))


@fault("2.92")
class IndexGivesFew(Searching):
    """The index gives three messages at most."""

    backend_class = FewMatches


class MatchesUpsideDown(SqliteBackend):
    """Gives one of the best matches first, and the others from the last of them on."""

    async def find(self, words: Sequence[str], *, limit: int) -> list[Match]:
        found = await super().find(words, limit=1_000_000)
        return [*found[:1], *found[:0:-1]][:limit]


@fault("2.93")
class IndexGivesFewestWords(Searching):
    """Behind its first match, the index gives those with the fewest words, the oldest before the newest."""

    backend_class = MatchesUpsideDown


class LongWords(SqliteBackend):
    """Looks for words of three letters and more."""

    async def find(self, words: Sequence[str], *, limit: int) -> list[Match]:
        return await super().find([word for word in words if len(word) > 2], limit=limit)


@fault("2.92")
class IndexSkipsShortWords(Searching):
    """The index knows no short words."""

    backend_class = LongWords


@fault("2.94")
class IndexesLater(Searching):
    """Search sees what was there when somebody last searched."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.known: set[str] = set()

    def search(self, query: str, *, limit: int = 5, window: int = 5) -> Any:
        hits = [hit for hit in super().search(query, limit=limit, window=window) if hit.session_id in self.known]
        self.known = {line["session_id"] for line in self.list_sessions(1000)}
        return hits


class Forgetful(SqliteBackend):
    """Indexes no message that comes with others."""

    async def append(self, session_id: str, records: Any, **options: Any) -> Any:
        done = await super().append(session_id, records, **options)
        if done is not None and len(records) > 1:
            number = self._read("SELECT max(run_number) FROM heads WHERE session_id = ?", (session_id,))[0][0]
            self._write("DELETE FROM words WHERE place >> 32 = ?", (number,))
        return done


@fault("2.92")
class IndexMissesBatches(Searching):
    """A turn of several messages is not indexed."""

    backend_class = Forgetful
