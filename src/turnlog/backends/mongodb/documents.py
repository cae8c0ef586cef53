"""Records as they lie in documents, and the steps that move them from a head's buffer to chunks. Pure values; backend.py says what for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson import ObjectId

from turnlog.backends.mongodb.driver import Document
from turnlog.backends.text_keys import from_key, to_key
from turnlog.messages import Record
from turnlog.words import words_of_body

CHUNK = 32
"""Records of a chunk; how many the buffer takes before they are moved. A part of the format."""
SPILL_BYTES = 256 * 1024
"""Bytes that the buffer takes before they are moved."""
INLINE = 32 * 1024
"""Bytes of a text that lies in the buffer; a longer one is a document of its own."""
INLINE_BATCH = 512 * 1024
"""Bytes of all texts of a batch that lie in the buffer; of a larger batch each text lies outside."""
LARGEST_BATCH = 50_000
"""Records of one append: their ids have to fit into one document."""
KEPT = 2 * CHUNK
"""Records that may stay in the buffer when full ones are moved: it is the fewer steps the more may stay. No part of the format."""
KEPT_INDEXED = CHUNK // 4
"""The same where words are indexed: the server looks at all words of a head at each append."""
INLINE_WORDS = 8 * 1024
"""Characters of a record's words that lie in the buffer; more are in a document of their own."""
INLINE_BATCH_WORDS = 128 * 1024
"""Characters of all words of a batch that lie in the buffer."""

_STATE_FIELDS = ("run", "counter", "length", "offset", "base", "mid", "size", "ttl", "expires", "claimed", "words")
STATE = {"_id": 0, **dict.fromkeys(_STATE_FIELDS, 1)}
"""What an append is told of the head."""
NOT_THERE = {"$exists": False}
EVERYTHING = 2**31 - 1


def text_size(text: str | None) -> int:
    """Bytes that a text takes, or a few more."""
    if text is None:
        return 0
    return len(text) if text.isascii() else 4 * len(text)


def words_size(words: Sequence[str]) -> int:
    """Bytes that words take in a document, or a few more or less."""
    return sum(map(len, words)) + 8 * len(words)


def to_entry(record: Record, *, words: bool) -> Document:
    """A record as an element of a buffer: id, time, body, meta if there is one, and its words where these are indexed."""
    entry: Document = {"i": to_key(record.id), "t": record.time, "b": record.body}
    if record.meta is not None:
        entry["m"] = record.meta
    if words:
        entry["w"] = words_of_body(record.body)
    return entry


def kind_of(words: bool) -> Document:
    """What a document with records says of their words: they are all indexed, or none is yet."""
    return {"words": True} if words else {"plain": True}


def to_record(seq: int, entry: Document) -> Record:
    """The record of an element whose texts are all in place."""
    return Record(seq, from_key(entry["i"]), entry["t"], entry["b"], entry.get("m"))


def chunks(key: str, run: str, entries: Sequence[Document], mark: ObjectId, *, words: bool) -> list[Document]:
    """The chunks of a run that begins with these elements, with the mark of who writes them."""
    found = []
    for base in range(0, len(entries), CHUNK):
        part = list(entries[base : base + CHUNK])
        place = {"run": run, "base": base}
        ids = [entry["i"] for entry in part]
        chunk = {"_id": place, "s": key, "run": run, "base": base, "end": base + len(part), "buf": part, "k": ids, "op": mark}
        found.append({**chunk, **kind_of(words)})
    return found


def copy_to_chunks(state: Document, key: str, collection: str, mark: ObjectId) -> list[Document]:
    """The pipeline that copies elements ``base`` to ``mid`` of a head's buffer to chunks, where these are not there yet.

    The server copies, so that nothing comes between reading the buffer and writing the chunks. An element that was erased is empty;
    a chunk with nothing else is not written.
    """
    size = state["mid"] - state["base"]
    part = {
        "base": {"$add": ["$base", "$$at"]},
        "buf": {"$slice": ["$buf", "$$at", {"$min": [CHUNK, {"$subtract": [size, "$$at"]}]}]},
    }
    return [
        {"$match": head_at(state, key)},
        {"$project": {"s": 1, "run": 1, "words": 1, "part": {"$map": {"input": {"$range": [0, size, CHUNK]}, "as": "at", "in": part}}}},
        {"$unwind": "$part"},
        {
            "$project": {
                "_id": {"run": "$run", "base": "$part.base"},
                "s": 1,
                "run": 1,
                "base": "$part.base",
                "end": {"$add": ["$part.base", {"$size": "$part.buf"}]},
                "buf": "$part.buf",
                "k": "$part.buf.i",
                "op": {"$literal": mark},
                "words": 1,
                "plain": {"$cond": ["$words", "$$REMOVE", True]},
            }
        },
        {"$match": {"k.0": {"$exists": True}}},
        {"$merge": {"into": collection, "whenMatched": "keepExisting", "whenNotMatched": "insert"}},
    ]


def head_at(state: Document, key: str) -> Document:
    """The head, if no step has been taken since ``state``."""
    return {"s": key, "live": True, "run": state["run"], "base": state["base"], "mid": state["mid"]}


def next_step(state: Document) -> list[Document]:
    """The change of the head once elements below ``mid`` are in chunks: they go, and the ids of the others leave the index.

    An id is guarded by the buffer as long as it is in the buffer; the index must be free of it before its chunk may be written.
    """
    moved = {"buf": {"$slice": ["$buf", state["mid"] - state["base"], EVERYTHING]}} if state["base"] < state["mid"] else {}
    return [{"$set": {**moved, "base": "$mid", "mid": "$length", "k": [], "size": 0}}]


def is_due(state: Document, count: int, size: int) -> bool:
    """Whether an append of ``count`` records and ``size`` bytes has filled the buffer; of many appends, one finds that it was it."""
    waiting = state["length"] - state["mid"]
    full = waiting // CHUNK > (waiting - count) // CHUNK
    return bool(full or state["size"] // SPILL_BYTES > (state["size"] - size) // SPILL_BYTES)


def lay_out(run: str, start: int, stop: int, documents: Sequence[Document]) -> tuple[list[tuple[int, Document]], int | None]:
    """The elements of a stretch with their places, and where a gap before the buffer begins, if there is one.

    Documents may overlap: a chunk that was written while its elements are still in the buffer.
    """
    found: list[tuple[int, Document]] = []
    at, gap = start, None
    for document in sorted((one for one in documents if one["run"] == run), key=lambda one: (one["base"], one.get("live", False))):
        base, buffer = document["base"], document["buf"]
        if base > at and document.get("live"):
            gap = at
        low, high = max(at, base), min(stop, base + len(buffer))
        if low < high:
            found += [(seq, entry) for seq, entry in enumerate(buffer[low - base : high - base], low) if entry]
            at = high
    return found, gap


def any_of(values: list[Any]) -> Any:
    """What a filter says for one of these values; the common case in the form that the server decides quickest."""
    return values[0] if len(values) == 1 else {"$in": values}


def none_of(values: list[Any]) -> Document:
    """What a filter says for none of these values."""
    return {"$ne": values[0]} if len(values) == 1 else {"$nin": values}
