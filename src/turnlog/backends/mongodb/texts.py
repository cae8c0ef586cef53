"""Texts that are too long to lie where they belong: documents of their own, written first, found by a reference."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from bson import ObjectId

from turnlog.backends.mongodb.documents import INLINE, INLINE_BATCH, INLINE_BATCH_WORDS, INLINE_WORDS, text_size, words_size
from turnlog.backends.mongodb.driver import Document
from turnlog.backends.mongodb.server import Server

PACK = 1024 * 1024
"""Bytes of texts in one document, unless a single one is longer."""
PIECE = 2 * 1024 * 1024
"""Characters of a text in one document: at most 8 MB."""
AT_ONCE = 64
"""Documents asked for in one round."""
WORDS_PACK = 256 * 1024
"""Characters of words in one document, and RECORDS_PACK records, unless a single one has more."""
RECORDS_PACK = 64


class Texts:
    """The texts of one store. They carry their run, so that they go with it; nothing names them until the write that needs them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.collection = server.collections.texts

    def outside(self, entries: Sequence[Document]) -> bool:
        """Whether a text or the words of these elements must lie outside of them."""
        sizes = [text_size(entry["b"]) + text_size(entry.get("m")) for entry in entries]
        if sum(sizes) > INLINE_BATCH or max(sizes, default=0) > INLINE:
            return True
        return self.has_many_words(entries)

    def has_many_words(self, entries: Sequence[Document]) -> bool:
        """Whether words of these elements must lie outside of them."""
        words = [words_size(entry.get("w", ())) for entry in entries]
        return sum(words) > INLINE_BATCH_WORDS or max(words, default=0) > INLINE_WORDS

    async def move_out(self, key: str, run: str, entries: Sequence[Document]) -> list[ObjectId]:
        """Write the texts of elements that are too long, and put references in their place; the ids of the new documents."""
        crowded = sum(text_size(entry["b"]) + text_size(entry.get("m")) for entry in entries) > INLINE_BATCH
        limit = 256 if crowded else INLINE // 2
        packs = _Packs(key, run)
        for entry in entries:
            for inside, reference in (("b", "p"), ("m", "q")):
                if text_size(entry.get(inside)) > limit:
                    entry[reference] = packs.add(entry.pop(inside))
        documents = [*packs.documents, *self._words_of(key, run, entries)]
        await self._write(documents)
        return [document["_id"] for document in documents]

    def _words_of(self, key: str, run: str, entries: Sequence[Document]) -> list[Document]:
        """Take the words out of elements that have too many; the documents for them, each with words of several records."""
        crowded = sum(words_size(entry.get("w", ())) for entry in entries) > INLINE_BATCH_WORDS
        documents: list[Document] = []
        free = 0
        for entry in entries:
            size = words_size(entry.get("w", ()))
            if size <= (0 if crowded else INLINE_WORDS):
                continue
            if size > free or len(documents[-1]["buf"]) >= RECORDS_PACK:
                documents.append({"_id": ObjectId(), "s": key, "run": run, "words": True, "buf": []})
                free = WORDS_PACK
            free -= size
            documents[-1]["buf"].append({"i": entry["i"], "t": entry["t"], "w": entry.pop("w")})
            entry["x"] = documents[-1]["_id"]
        return documents

    async def put_words(self, key: str, run: str, entries: Sequence[Document]) -> list[ObjectId]:
        """Write the words of elements that have too many, and put references in their place; the ids of the new documents."""
        documents = self._words_of(key, run, entries)
        await self._write(documents)
        return [document["_id"] for document in documents]

    async def fill_in(self, entries: Iterable[Document]) -> None:
        """Put the texts in the place of the references. A text that is gone leaves its element empty."""
        waiting = [
            (entry, inside, entry[reference]) for entry in entries for inside, reference in (("b", "p"), ("m", "q")) if reference in entry
        ]
        if not waiting:
            return
        found = await self._read({piece for _, _, (ids, _) in waiting for piece in ids})
        for entry, inside, (ids, number) in waiting:
            if all(piece in found for piece in ids):
                entry[inside] = "".join(found[piece][number] for piece in ids)
            else:
                entry.clear()

    async def put(self, key: str, run: str, text: str) -> list[ObjectId]:
        """Write one text for a row; its reference."""
        packs = _Packs(key, run)
        ids: list[ObjectId] = packs.add(text)[0]
        for document in packs.documents:
            document["row"] = True
        await self._write(packs.documents)
        return ids

    async def get(self, references: Iterable[Sequence[ObjectId]]) -> dict[ObjectId, str]:
        """The pieces of rows' texts."""
        found = await self._read({piece for ids in references for piece in ids})
        return {piece: texts[0] for piece, texts in found.items()}

    async def drop(self, ids: Iterable[ObjectId]) -> None:
        """Erase documents."""
        if wanted := list(ids):
            await self._server.call(self.collection, "delete_many", {"_id": {"$in": wanted}})

    async def erase(self, entries: Collection[Document]) -> None:
        """Erase the texts and words of elements, and not those that share a document with them."""
        shared: dict[ObjectId, Document] = {}
        alone: list[ObjectId] = []
        for ids, number in (entry[name] for entry in entries for name in ("p", "q") if name in entry):
            if len(ids) > 1:
                alone += ids
            else:
                shared.setdefault(ids[0], {})[f"d.{number}"] = ""
        await self.drop(alone)
        for identity, blanks in shared.items():
            await self._server.call(self.collection, "update_one", {"_id": identity}, {"$set": blanks})
        for entry in (entry for entry in entries if "x" in entry):
            await self._server.call(self.collection, "update_one", {"_id": entry["x"]}, {"$pull": {"buf": {"i": entry["i"]}}})

    async def drop_run(self, run: str, *, rows: bool) -> None:
        """Erase all texts of a run's records, or of its rows."""
        await self._server.call(self.collection, "delete_many", {"run": run, "row": {"$exists": rows}})

    async def _write(self, documents: Sequence[Document]) -> None:
        for document in documents:
            # Ids are made here, so that twice is the same as once.
            await self._server.call(self.collection, "replace_one", {"_id": document["_id"]}, document, upsert=True)

    async def _read(self, ids: set[ObjectId]) -> dict[ObjectId, list[str]]:
        found: dict[ObjectId, list[str]] = {}
        wanted = sorted(ids)
        for start in range(0, len(wanted), AT_ONCE):
            where = {"_id": {"$in": wanted[start : start + AT_ONCE]}}
            found.update({one["_id"]: one["d"] for one in await self._server.rows(self.collection, "find", where, {"d": 1})})
        return found


class _Packs:
    """Documents that are being filled with texts."""

    def __init__(self, key: str, run: str) -> None:
        self.documents: list[Document] = []
        self._key, self._run = key, run
        self._free = 0

    def add(self, text: str) -> list[Any]:
        """The reference to a text: the documents that hold its pieces, and its number in them."""
        if len(text) > PIECE:
            return [[self._new(text[at : at + PIECE]) for at in range(0, len(text), PIECE)], 0]
        size = text_size(text)
        if size > self._free:
            self._new()
            self._free = PACK
        self._free -= size
        texts = self.documents[-1]["d"]
        texts.append(text)
        return [[self.documents[-1]["_id"]], len(texts) - 1]

    def _new(self, *texts: str) -> ObjectId:
        identity = ObjectId()
        self.documents.append({"_id": identity, "s": self._key, "run": self._run, "d": list(texts)})
        self._free = 0
        return identity
