"""Records: appending to a head's buffer, moving full buffers to chunks, reading stretches, erasing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from bson import ObjectId
from pymongo import ReturnDocument

from turnlog.backends.mongodb.documents import (
    EVERYTHING,
    KEPT,
    KEPT_INDEXED,
    LARGEST_BATCH,
    NOT_THERE,
    STATE,
    copy_to_chunks,
    head_at,
    is_due,
    lay_out,
    next_step,
    none_of,
    text_size,
    to_entry,
    to_record,
)
from turnlog.backends.mongodb.driver import Document, Wait
from turnlog.backends.mongodb.indexing import Indexing
from turnlog.backends.mongodb.lives import Lives
from turnlog.backends.mongodb.outcomes import TakenError
from turnlog.backends.mongodb.server import Server
from turnlog.backends.mongodb.texts import Texts
from turnlog.backends.port import Appended
from turnlog.backends.text_keys import to_key
from turnlog.errors import ConflictError, InvalidMessageError, StorageError
from turnlog.heads import Stretch
from turnlog.messages import Record

ATTEMPTS = 100
"""Times that an append is tried again because what refused it was gone when it was looked for."""
BUFFER = {"_id": 0, "run": 1, "base": 1, "live": 1, "buf": 1}
BUFFER_ALONE = {"_id": 0, "run": 1, "base": 1, "live": 1, **{f"buf.{name}": 1 for name in "itbmpq"}}
"""The same without the words of the records."""


class _Look(NamedTuple):
    """A head, and body and meta of those ids that its run knows."""

    state: Document
    known: dict[str, tuple[str, str | None]]

    @property
    def revision(self) -> str:
        return f"{self.state['run']}.{self.state['counter']}"

    @property
    def messages(self) -> int:
        return int(self.state["length"] + self.state["offset"])


class Records:
    """The part of the backend that keeps records."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._history, self._rows = server.collections.history, server.collections.rows
        self._texts = Texts(server)
        self._indexing = Indexing(server, self._texts)
        self._lives = Lives()

    # Appending --------------------------------------------------------------------------------------------------------

    async def append(self, session_id: str, records: Sequence[Record], *, now: float, expect: str | None) -> Appended | None:
        """See Backend.append."""
        if len(records) > LARGEST_BATCH:
            text = f"{len(records)} messages at once are too many, {LARGEST_BATCH} is the most: append them in smaller batches"
            raise InvalidMessageError(text, session_id=session_id)
        key = to_key(session_id)
        await self._server.get_ready()
        for _ in range(ATTEMPTS):
            if records and len({record.id for record in records}) == len(records):
                state = await self._push(key, records, now, expect)
                if state is not None:
                    return Appended(f"{state['run']}.{state['counter']}", state["length"] + state["offset"], False)
            look = await self._look(key, records)
            if look is None or look.state.get("expires", now + 1) <= now:
                return None
            if 0 < len(look.known) < len(records):
                # The batch may have come in whole between the two reads of the first look.
                look = await self._look(key, records) or look
            if (known := _judge(session_id, records, look, expect)) is not None:
                return known
            self._lives.learn(key, look.state)
            if "words" in look.state:
                self._server.indexes_words = True
            elif self._server.indexes_words:
                await self._indexing.index_head(key)
        raise StorageError(f"session {session_id!r} refused an append {ATTEMPTS} times without a reason that lasted", session_id=session_id)

    async def _push(self, key: str, records: Sequence[Record], now: float, expect: str | None) -> Document | None:
        """Append in one operation; the head's state after it, or None when the server refused it, whatever for."""
        words = self._server.indexes_words
        entries = [to_entry(record, words=words) for record in records]
        ids = [entry["i"] for entry in entries]
        living, raised = self._lives.at_append(key, now)
        where: Document = {"s": key, "live": True, "buf.i": none_of(ids), **living, "words": True if words else NOT_THERE}
        if expect is not None:
            if (at := revision_of(expect)) is None:
                return None
            where |= at
        outside: list[Any] = []
        if self._texts.outside(entries):
            if (head := await self._server.call(self._history, "find_one", {"s": key, "live": True}, {"run": 1})) is None:
                return None
            outside = await self._texts.move_out(key, head["run"], entries)
            # The texts go with this run, so the append may go to no other.
            where.setdefault("run", head["run"])
        size = sum(text_size(entry.get("b")) + text_size(entry.get("m")) for entry in entries)
        change = {
            "$push": {"buf": {"$each": entries}, "k": {"$each": ids}} if len(ids) > 1 else {"buf": entries[0], "k": ids[0]},
            "$inc": {"counter": 1, "length": len(ids), "size": size},
            "$set": {"updated_at": now, **raised},
        }
        try:
            state = await self._change_head(where, change)
        except TakenError:
            state = None
        if state is None:
            await self._texts.drop(outside)
        elif is_due(state, len(ids), size):
            # The records are stored; if this fails, the next append that fills the buffer does it.
            with suppress(StorageError, TakenError):
                await self._spill(key, state, keep=KEPT_INDEXED if words else KEPT)
        return state

    async def _change_head(self, where: Document, change: Any, *, wait: Wait = "own") -> Document | None:
        found: Document | None = await self._server.call(
            self._history, "find_one_and_update", where, change, projection=STATE, return_document=ReturnDocument.AFTER, wait=wait
        )
        return found

    async def _look(self, key: str, records: Sequence[Record]) -> _Look | None:
        """What is known of these records. The head is read first: what leaves its buffer meanwhile is in a chunk by then."""
        state = await self._server.call(self._history, "find_one", {"s": key, "live": True}, {**STATE, "buf": 1})
        if state is None:
            return None
        ids = {to_key(record.id): record.id for record in records}
        found = [entry for entry in state.pop("buf") if entry.get("i") in ids]
        if ids:
            where = {"s": key, "run": state["run"], "k": {"$in": list(ids)}}
            for chunk in await self._server.rows(self._history, "find", where, {"buf": 1}):
                found += [entry for entry in chunk["buf"] if entry.get("i") in ids]
        await self._texts.fill_in(found)
        return _Look(state, {ids[entry["i"]]: (entry["b"], entry.get("m")) for entry in found if entry})

    async def _spill(self, key: str, state: Document, *, keep: int) -> Document | None:
        """Move the buffer to chunks until at most ``keep`` records are left in it; the head's state then.

        None when somebody else has gone on with it. Any step may be repeated, and be done by anyone.
        """
        while True:
            if state["base"] < state["mid"]:
                steps = copy_to_chunks(state, key, self._history, ObjectId())
                # A primary that comes after this one must have the chunks, or the next step would erase the only copy with it.
                await self._server.call(self._history, "aggregate", steps, wait="majority")
            after = await self._change_head(head_at(state, key), next_step(state), wait="nobody")
            if after is None:
                return None
            state = after
            if state["length"] - state["base"] <= keep:
                return state

    # Reading ----------------------------------------------------------------------------------------------------------

    async def read(self, session_id: str, spans: Sequence[Stretch]) -> list[Record]:
        """See Backend.read."""
        wanted = [span for span in spans if span.start < span.stop]
        if not wanted:
            return []
        documents = await self._overlapping(wanted)
        found: list[tuple[int, Document]] = []
        for span in wanted:
            laid, gap = lay_out(*span, documents)
            if gap is not None:
                # The buffer was moved to a chunk while the server looked; the chunk is there by now.
                more = await self._overlapping([span._replace(start=gap)])
                laid, _ = lay_out(*span, [*documents, *more])
            found += laid
        await self._texts.fill_in([entry for _, entry in found])
        return [to_record(seq, entry) for seq, entry in found if entry]

    async def _overlapping(self, spans: Sequence[Stretch]) -> list[Document]:
        places = [{"run": run, "end": {"$gt": start}, "base": {"$lt": stop}} for run, start, stop in spans]
        where = places[0] if len(places) == 1 else {"$or": places}
        names = BUFFER_ALONE if self._server.indexes_words else BUFFER
        return await self._server.rows(self._history, "find", where, names, settled=True)

    # Erasing ----------------------------------------------------------------------------------------------------------

    async def drop_records(self, session_id: str, run: str, start: int, stop: int | None) -> None:
        """See Backend.drop_records."""
        if start == 0 and stop is None:
            head = {"s": to_key(session_id), "live": True, "run": run}
            if await self._server.call(self._history, "find_one", head, {"_id": 1}) is None:
                await self._server.call(self._history, "delete_many", {"run": run, "end": {"$exists": True}})
                await self._texts.drop_run(run, rows=False)
                return
        end = EVERYTHING if stop is None else stop
        where = {"run": run, "end": {"$gt": start}, "base": {"$lt": end}}
        names = {"run": 1, "base": 1, "live": 1, "buf.i": 1, "buf.p": 1, "buf.q": 1, "buf.x": 1}
        # Again until nothing is found: a buffer may be moved to a chunk between the look and the erasing.
        while documents := [
            (one, doomed) for one in await self._server.rows(self._history, "find", where, names) if (doomed := _within(one, start, end))
        ]:
            for document, doomed in documents:
                await self._texts.erase(doomed.values())
                await self._erase(document, doomed)

    async def _erase(self, document: Document, doomed: dict[int, Document]) -> None:
        """Empty some elements of a buffer or a chunk; a chunk with no others goes."""
        where = {"_id": document["_id"], "run": document["run"], "base": document["base"]}
        if not document.get("live") and len(doomed) == sum(1 for entry in document["buf"] if entry):
            await self._server.call(self._history, "delete_one", {**where, "live": {"$exists": False}})
            return
        change = {
            "$set": {f"buf.{number}": {} for number in doomed},
            "$pull": {"k": {"$in": [entry["i"] for entry in doomed.values()]}},
        }
        await self._server.call(self._history, "update_one", where, change)


def _within(document: Document, start: int, stop: int) -> dict[int, Document]:
    """The elements of a document that lie in a stretch and are not empty, by their number in it."""
    base = document["base"]
    return {number: entry for number, entry in enumerate(document["buf"]) if entry and start <= base + number < stop}


def revision_of(expect: str) -> Document | None:
    """The filter that a revision is; None for text that is no revision."""
    run, _, counter = expect.rpartition(".")
    if not (counter.isascii() and counter.isdecimal() and str(int(counter)) == counter and len(counter) < 19):
        return None
    return {"run": to_key(run), "counter": int(counter)}


def _judge(session_id: str, records: Sequence[Record], look: _Look, expect: str | None) -> Appended | None:
    """``known=True`` when all is stored already, with the same content; ConflictError that says why; None for no reason."""
    known = look.known
    if len({record.id for record in records}) < len(records):
        wrong = "names a message id twice: give each message its own"
    elif known and len(known) < len(records):
        wrong = f"has {len(known)} known message ids of {len(records)}: send it as it was, or with new ids"
    elif any(known.get(record.id, (record.body, record.meta)) != (record.body, record.meta) for record in records):
        wrong = "has known message ids with other content: send it as it was, or with new ids"
    elif len(known) == len(records):
        return Appended(look.revision, look.messages, True)
    elif expect is not None and expect != look.revision:
        wrong = "expects another revision: read the session again and decide anew"
    else:
        return None
    text = f"the batch for session {session_id!r} {wrong}"
    raise ConflictError(text, session_id=session_id, expected=expect, actual=look.revision)
