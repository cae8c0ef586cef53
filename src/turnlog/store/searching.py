"""Search: which sessions hold the words asked for, found through the engine's index of words or by reading; the answer is the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from turnlog import tree
from turnlog.backends.port import Match, Query, Searchable
from turnlog.heads import Head, Stretch
from turnlog.messages import Record, decode_body
from turnlog.store.core import alive
from turnlog.store.drive import verb
from turnlog.store.reading import Reading, check_limit, context
from turnlog.store.values import SessionHit, iso_time, title_of
from turnlog.words import place_of, snippet, spelled, text_of

SCANNED = 10_000
"""Sessions that a search without an index reads at most, those changed last."""
FOUND = 10_000
"""Messages that a search with an index looks at, at most: those that hold most of the words, then the newest."""
PHRASE = 2.0
"""What the whole phrase adds to a score."""
_FIRST = 256
"""Messages asked of the index at first."""
_PAGE = 200


class _Sought(NamedTuple):
    """What is looked for."""

    phrase: list[str]
    """The words as they were given."""
    words: frozenset[str]

    def score(self, record: Record) -> float:
        """1 for each word that the message holds, and 2 for the whole phrase."""
        there = spelled(text_of(decode_body(record).get("content")))
        held = len(self.words.intersection(there))
        whole = held == len(self.words) and place_of(self.phrase, there) is not None
        return held + (PHRASE if whole else 0.0)

    def most(self, score: float) -> float:
        """The most that a message can score that holds no more words than one of this score."""
        return score if score < len(self.words) else len(self.words) + PHRASE


@dataclass(frozen=True, slots=True)
class _Hit:
    """A session with its best message."""

    head: Head
    index: int
    record: Record
    score: float

    @property
    def order(self) -> tuple[float, float, str]:
        return (-self.score, -self.head.updated_at, self.head.session_id)


class Searching(Reading):
    """Looks for words across sessions."""

    @verb
    async def search(self, query: str, *, limit: int = 5, window: int = 5) -> list[SessionHit]:
        """The sessions whose kept messages hold words of ``query``, best first, each with the ``window`` messages around the best one.

        Words are runs of letters and digits; they are compared whole, upper and lower case the same, over the first 262,144 characters
        of a message. A message scores 1 for each word it holds and 2 more where they stand in it as in the query; a session counts
        by its best message, the newest of equals. Hits are in the order of score, then of the last change, newest first, then of the id.

        With an engine that indexes words (``search=True``) the cost goes with the messages that hold one, of which 10,000 are looked at:
        those with most of the words, then the newest. Else the 10,000 sessions changed last are read.
        """
        check_limit(window)
        wanted = check_limit(limit)
        self._check_open()
        phrase = spelled(query)
        sought = _Sought(phrase, frozenset(phrase))
        if not phrase:
            return []
        index = await self._word_index()
        hits = sorted(await (self._scanned(sought) if index is None else self._indexed(index, sought, wanted)), key=lambda hit: hit.order)
        return [await self._shown(hit, sought, window) for hit in hits[:wanted]]

    async def _word_index(self) -> Searchable | None:
        """The engine's index of words, if it has one of all that is stored."""
        engine: Any = self.backend
        if not isinstance(engine, Searchable):
            return None
        if not engine.indexes_words:
            # An engine that has not been used yet has not looked whether it does.
            await self.backend.list_heads(Query(), cursor=None, limit=1)
        return engine if engine.indexes_words else None

    # By reading -------------------------------------------------------------------------------------------------------

    async def _scanned(self, sought: _Sought) -> list[_Hit]:
        hits = []
        seen = 0
        cursor: str | None = None
        while seen < SCANNED:
            page = await self.backend.list_heads(Query(), cursor=cursor, limit=min(_PAGE, SCANNED - seen))
            for head in page.heads:
                hit = await self._best(head.session_id, sought) if alive(head) else None
                hits += [hit] if hit is not None else []
            seen += len(page.heads)
            cursor = page.cursor
            if cursor is None:
                break
        return hits

    async def _best(self, session_id: str, sought: _Sought) -> _Hit | None:
        found = await self._read_all(session_id)
        return _best_of(found[0], enumerate(found[1]), sought) if found is not None else None

    # By the index -----------------------------------------------------------------------------------------------------

    async def _indexed(self, index: Searchable, sought: _Sought, wanted: int | None) -> list[_Hit]:
        """The hits among the messages that the index gives: as many as it takes to be sure of the first ``wanted``."""
        take = _FIRST
        while True:
            matches = await index.find(sorted(sought.words), limit=take)
            scores = await self._scores(matches, sought)
            hits = await self._hits(scores)
            hits.sort(key=lambda hit: hit.order)
            if len(matches) < take or take >= FOUND:
                return hits
            # What is not given yet holds no more words than the last that was.
            unseen = sought.most(scores[matches[-1]][1] if matches[-1] in scores else len(sought.words))
            if wanted is not None and len(hits) >= wanted and hits[wanted - 1].score > unseen:
                return hits
            take = min(8 * take, FOUND)

    async def _scores(self, matches: Sequence[Match], sought: _Sought) -> dict[Match, tuple[Record, float]]:
        """The messages of the matches with their scores; those that are gone by now are left out."""
        scores: dict[Match, tuple[Record, float]] = {}
        runs: dict[tuple[str, str], list[int]] = {}
        for match in matches:
            runs.setdefault((match.session_id, match.run), []).append(match.seq)
        for (session_id, run), numbers in runs.items():
            for record in await self.backend.read(session_id, _stretches(run, numbers)):
                if score := sought.score(record):
                    scores[Match(session_id, run, record.seq)] = (record, score)
        return scores

    async def _hits(self, scores: dict[Match, tuple[Record, float]]) -> list[_Hit]:
        """The sessions that show the messages now, each with its best."""
        best: dict[str, _Hit] = {}
        runs: dict[tuple[str, str], dict[int, tuple[Record, float]]] = {}
        for match, scored in scores.items():
            runs.setdefault((match.session_id, match.run), {})[match.seq] = scored
        for (session_id, run), found in runs.items():
            for head in await self._showing(session_id, run, min(found)):
                for stretch, before in await self._places(head, run):
                    for seq in [seq for seq in found if stretch.start <= seq < stretch.stop]:
                        at = before + seq - stretch.start - head.shed
                        record, score = found[seq]
                        known = best.get(head.session_id)
                        if at >= 0 and (known is None or (score, at) > (known.score, known.index)):
                            best[head.session_id] = _Hit(head, at, record, score)
        return list(best.values())

    async def _showing(self, session_id: str, run: str, seq: int) -> list[Head]:
        """The sessions that may show records of a run from ``seq`` on: its owner, its forks, and theirs."""
        heads = []
        seen = {run}
        line = [(session_id, run)]
        while line:
            name, its_run = line.pop()
            head = await self._head(name)
            if head is not None and head.run == its_run:
                heads.append(head)
            for claim in await self._shared.references(name, its_run) if self._shared is not None else []:
                if claim.child_run not in seen and (its_run != run or claim.stop > seq):
                    seen.add(claim.child_run)
                    line.append((claim.child_id, claim.child_run))
        return heads

    async def _places(self, head: Head, run: str) -> list[tuple[Stretch, int]]:
        """The stretches of a run in a history, each with the number of messages before it, shed ones among them."""
        older = await self._older(head.session_id, head.path)
        places = []
        before = 0
        for stretch in (*older, *head.past, Stretch(head.run, head.tail, head.length)):
            if stretch.run == run:
                places.append((stretch, before))
            before += tree.length((stretch,))
        return places

    # The answer -------------------------------------------------------------------------------------------------------

    async def _shown(self, hit: _Hit, sought: _Sought, window: int) -> SessionHit:
        start = max(0, hit.index - window)
        found = await self._read(hit.head.session_id, lambda count: (min(start, count), min(hit.index + window + 1, count)))
        records = found[1] if found is not None else []
        at = hit.index - start
        if not (at < len(records) and records[at].id == hit.record.id):
            # Changed since it was found: what was found then is shown alone.
            records, at = [hit.record], 0
        return SessionHit(
            session_id=hit.head.session_id,
            title=title_of(hit.head) or hit.head.fields.get("agent_name") or hit.head.session_id,
            when=iso_time(hit.head.updated_at),
            snippet=snippet(text_of(decode_body(hit.record).get("content")), sought.phrase),
            score=hit.score,
            anchor_index=hit.index,
            messages=[{**line, "index": line["index"] + hit.index - at} for line in context(records, at, window)],
        )


def _best_of(head: Head, records: Iterable[tuple[int, Record]], sought: _Sought) -> _Hit | None:
    """The best message, the newest of equals; None where no message holds a word."""
    best: _Hit | None = None
    for index, record in records:
        score = sought.score(record)
        if score and (best is None or score >= best.score):
            best = _Hit(head, index, record, score)
    return best


def _stretches(run: str, numbers: Iterable[int]) -> list[Stretch]:
    """The numbers as few stretches."""
    stretches: list[Stretch] = []
    for seq in sorted(numbers):
        if stretches and stretches[-1].stop == seq:
            stretches[-1] = stretches[-1]._replace(stop=seq + 1)
        else:
            stretches.append(Stretch(run, seq, seq + 1))
    return stretches
