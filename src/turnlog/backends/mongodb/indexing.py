"""The index of words: records that were written without their words get them, and records that hold words are found."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bson import ObjectId

from turnlog.backends.mongodb.documents import NOT_THERE, any_of
from turnlog.backends.mongodb.driver import Document
from turnlog.backends.mongodb.server import Server
from turnlog.backends.mongodb.texts import Texts
from turnlog.backends.port import Match
from turnlog.backends.text_keys import from_key
from turnlog.words import words_of_body

IN_ONE_LOOK = 32
"""Documents that are read at once to be indexed."""
APART = 8
"""Those who index at the same time begin at one of so many places, so that they seldom do the same."""
PLAIN = {"plain": True}


class Indexing:
    """Indexes what one store holds. A document whose records wait for it says ``plain``; each is one step, which anyone may take."""

    def __init__(self, server: Server, texts: Texts) -> None:
        self._server = server
        self._history = server.collections.history
        self._texts = texts

    async def index_all(self) -> None:
        """Index all that was written without its words. Where nothing was, this is one look into a small index."""
        first = await self._waiting(0)
        while first:
            for document in await self._waiting(random.randrange(APART) * IN_ONE_LOOK) or first:
                await self._index(document)
            first = await self._waiting(0)

    async def index_head(self, key: str) -> None:
        """Index what the head of a session holds."""
        if (head := await self._server.call(self._history, "find_one", {"s": key, "live": True, "words": NOT_THERE})) is not None:
            await self._index(head)

    async def _waiting(self, skip: int) -> list[Document]:
        return await self._server.rows(self._history, "find", PLAIN, hint="by_plain", skip=skip, limit=IN_ONE_LOOK)

    async def _index(self, document: Document) -> None:
        """Give the records of a head or a chunk their words, if nothing has been added to it or erased from it meanwhile."""
        entries = {number: entry for number, entry in enumerate(document["buf"]) if entry}
        filled = {number: dict(entry) for number, entry in entries.items()}
        await self._texts.fill_in(list(filled.values()))
        new: dict[int, Document] = {
            number: {"i": entry["i"], "t": entry["t"], "w": words_of_body(filled[number].get("b", ""))} for number, entry in entries.items()
        }
        outside: Sequence[ObjectId] = ()
        if self._texts.has_many_words(list(new.values())):
            outside = await self._texts.put_words(document["s"], document["run"], list(new.values()))
        change: Document = {"$set": {"words": True}, "$unset": {"plain": ""}}
        for number, entry in new.items():
            name = "w" if "w" in entry else "x"
            change["$set"][f"buf.{number}.{name}"] = entry[name]
        where: Document = {name: document[name] for name in ("_id", "s", "run", "base", "length", "counter") if name in document}
        ids = [entry["i"] for entry in entries.values()]
        where |= {"words": NOT_THERE, "buf": {"$size": len(document["buf"])}}
        if ids:
            where["buf.i"] = {"$all": ids}
        done = await self._server.call(self._history, "update_one", where, change)
        if not done.matched_count:
            await self._texts.drop(outside)

    # Finding ----------------------------------------------------------------------------------------------------------

    async def find(self, words: Sequence[str], limit: int) -> list[Match]:
        """See Searchable.find."""
        await self.index_all()
        wanted = list(dict.fromkeys(words))
        if not wanted or limit < 1:
            return []
        # A record may be met twice, in a chunk and still in its buffer, and words may have been written for a record that never was.
        take = 2 * limit
        while True:
            found = await self._server.rows(self._history, "aggregate", self._holding(wanted, take))
            placed = await self._placed(found)
            best: dict[tuple[str, int], Document] = {}
            for one in placed:
                best.setdefault((one["run"], one["seq"]), one)
            if len(best) >= limit or len(found) < take:
                order = sorted(best.values(), key=lambda one: (one["held"], one["t"], one["seq"]), reverse=True)
                return [Match(from_key(one["s"]), one["run"], int(one["seq"])) for one in order[:limit]]
            take *= 4

    def _holding(self, words: list[str], take: int) -> list[Document]:
        """The pipeline that gives records with these words, those with most of them first, then the newest."""
        held = {"$size": {"$setIntersection": ["$buf.w", {"$literal": words}]}}
        steps: list[Document] = [
            {"$match": {"words": True, "buf.w": any_of(words)}},
            {"$project": {"_id": 0, "s": 1, "run": 1, "base": 1, "buf.i": 1, "buf.t": 1, "buf.w": 1}},
            {"$unwind": {"path": "$buf", "includeArrayIndex": "number"}},
            {"$match": {"buf.w": any_of(words)}},
            {"$project": {"s": 1, "run": 1, "i": "$buf.i", "t": "$buf.t", "held": held, "seq": {"$add": ["$base", "$number"]}}},
        ]
        best: list[Document] = [{"$sort": {"held": -1, "t": -1, "seq": -1}}, {"$limit": take}]
        return [*steps, {"$unionWith": {"coll": self._texts.collection, "pipeline": [*steps, *best]}}, *best]

    async def _placed(self, found: Sequence[Document]) -> list[Document]:
        """Those whose record is there, with its place in its run; words that lie outside of it do not know it."""
        lost = [one for one in found if one.get("seq") is None]
        places: dict[tuple[str, str], int] = {}
        for start in range(0, len(lost), IN_ONE_LOOK):
            some = lost[start : start + IN_ONE_LOOK]
            owners: list[Document] = []
            for one in some:
                run, holding = {"s": one["s"], "run": one["run"]}, {"buf.i": one["i"]}
                # In a chunk, in the buffer of a head, or in what a head became when it left.
                owners += [{**run, "k": one["i"]}, {**run, "live": True, **holding}, {**run, "end": {"$gt": 0}, "k": NOT_THERE, **holding}]
            for owner in await self._server.rows(self._history, "find", {"$or": owners}, {"run": 1, "base": 1, "buf.i": 1, "buf.x": 1}):
                for number, entry in enumerate(owner["buf"]):
                    if "x" in entry:
                        places[owner["run"], entry["i"]] = owner["base"] + number
        for one in lost:
            one["seq"] = places.get((one["run"], one["i"]))
        return [one for one in found if one["seq"] is not None]
