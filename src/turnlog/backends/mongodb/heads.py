"""Heads: compare-and-set in one operation, leaving without losing what forks may still show, pages of a listing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from bson import ObjectId

from turnlog.backends.cursors import decode_cursor, encode_cursor
from turnlog.backends.head_json import count_offset, decode_head, encode_head
from turnlog.backends.mongodb.documents import CHUNK, chunks, kind_of, to_entry
from turnlog.backends.mongodb.driver import Document
from turnlog.backends.mongodb.lives import end_of_life, life_of, watch
from turnlog.backends.mongodb.outcomes import AnswerLostError, TakenError
from turnlog.backends.mongodb.records import Records, revision_of
from turnlog.backends.port import Page, Query
from turnlog.backends.text_keys import after_prefix, from_key, to_key
from turnlog.errors import ConflictError
from turnlog.heads import Head
from turnlog.messages import Record

HEAD = {"_id": 0, "s": 1, "body": 1, "run": 1, "counter": 1, "length": 1, "updated_at": 1}
OPTIONAL = ("agent", "user", "parent", "shed", "ttl", "expires")
HEADS_ONLY = ("live", "own", "closed", "claimed", "gone", "k", "mid", "size", "counter", "offset", "updated_at", "body", *OPTIONAL)
"""Fields that a head loses when it leaves its session; what stays is a chunk."""
TEXTS_AT_ONCE = 1_000
RARE = 1_000
"""Sessions that share a prefix up to which they are sorted; more are looked for in the order of time."""


class Heads(Records):
    """The part of the backend that keeps heads."""

    async def get_head(self, session_id: str) -> Head | None:
        """See Backend.get_head."""
        where = {"s": to_key(session_id), "live": True}
        # Settled as its records are: the length that goes with a primary would cut a turn of those that the next one has.
        found = await self._server.rows(self._history, "find", where, HEAD, limit=1, settled=True)
        return _head(found[0]) if found else None

    async def put_head(self, head: Head, *, expect: str | None, records: Sequence[Record] = ()) -> bool:
        """See Backend.put_head."""
        if len({record.id for record in records}) < len(records):
            text = f"run {head.run!r} cannot begin with these records: an id is given twice"
            raise ConflictError(text, session_id=head.session_id, expected=expect)
        values = head_values(head)
        where: Document | None = None
        if expect is not None:
            if (at := revision_of(expect)) is None:
                return False
            where = {"s": values["s"], "live": True, **at}
            if at["run"] == head.run and not records:
                return await self._store(values, {**where, "closed": {"$ne": True}}, head)
            if await self._is_closed(head.run) or not await self._empty_buffer(values["s"], where):
                return False
            where["buf.0"] = {"$exists": False}
        beginning = await self._write_beginning(values, records, head.length)
        stored = await self._store({**values, **beginning}, where, head)
        if stored:
            self._lives.learn(values["s"], values)
        elif records:
            await self._take_back(head.run, values["op"])
        return stored

    async def _store(self, values: Document, where: Document | None, head: Head) -> bool:
        """Insert a head, or put it in the place of the one that ``where`` finds; False if that one is gone, or the run is closed.

        If the answer is lost it is tried again, and the mark ``op`` in what is stored tells whether the first try went through.
        """
        if head.ttl is not None:
            # A note that is lost with a failover leaves remains that only compacting finds.
            with suppress(TakenError):  # somebody else has just written the same
                await self._server.call(self._history, "bulk_write", [watch(values["s"], head)], wait="nobody")
        try:
            return await self._store_once(values, where)
        except AnswerLostError as error:
            if await self._store_once(values, where):
                return True
            stored = await self._server.call(self._history, "find_one", {"s": values["s"], "live": True}, {"op": 1, "run": 1})
            if stored is not None and stored["op"] == values["op"]:
                return True
            if where is None or stored is None:
                return where is None and stored is not None and stored["run"] == values["run"]
            # The first try may have gone through, and somebody else's change after it.
            raise error

    async def _store_once(self, values: Document, where: Document | None) -> bool:
        try:
            if where is None:
                await self._server.call(self._history, "insert_one", dict(values), again=False)
                return True
            return bool((await self._server.call(self._history, "update_one", where, _change(values), again=False)).matched_count)
        except TakenError:
            return False

    async def _is_closed(self, run: str) -> bool:
        """Whether a run is marked as closed, under whichever session; the unique index decides within one."""
        mark = {"_id": {"mark": run}, "closed": True}
        return await self._server.call(self._history, "find_one", mark, {"_id": 1}) is not None

    async def _empty_buffer(self, key: str, where: Document) -> bool:
        """Move the whole buffer of a head to chunks, so that its run stays whole without it; False if it is no longer that head."""
        names = {"_id": 0, "run": 1, "base": 1, "mid": 1, "length": 1}
        state: Document | None = await self._server.call(self._history, "find_one", where, names)
        if state is None:
            return False
        return state["base"] == state["length"] or await self._spill(key, state, keep=0) is not None

    async def _write_beginning(self, values: Document, records: Sequence[Record], length: int) -> Document:
        """The fields of a head whose run is new: its first records, or where they end if they are written to chunks here."""
        words = self._server.indexes_words
        entries = [to_entry(record, words=words) for record in records]
        key, run = values["s"], values["run"]
        if self._texts.outside(entries):
            for start in range(0, len(entries), TEXTS_AT_ONCE):
                await self._texts.move_out(key, run, entries[start : start + TEXTS_AT_ONCE])
        fields = {"live": True, "end": float("inf"), "length": length, "size": 0, **kind_of(words)}
        if len(entries) <= CHUNK and length == len(entries):
            return {**fields, "base": 0, "mid": 0, "buf": entries, "k": [entry["i"] for entry in entries]}
        if entries:
            try:
                await self._server.call(self._history, "insert_many", chunks(key, run, entries, values["op"], words=words), again=False)
            except TakenError as error:
                await self._take_back(run, values["op"])
                text = f"run {run!r} cannot begin with these records: ids or places are taken"
                raise ConflictError(text, session_id=from_key(key)) from error
        return {**fields, "base": length, "mid": length, "buf": [], "k": []}

    async def _take_back(self, run: str, mark: ObjectId) -> None:
        """Erase the records of a run that came to nothing."""
        await self._server.call(self._history, "delete_many", {"run": run, "end": {"$exists": True}, "op": mark})
        await self._texts.drop_run(run, rows=False)

    async def remove_head(self, session_id: str, run: str, *, expect: str | None = None) -> bool:
        """See Backend.remove_head. The head becomes a chunk where it stands: the last one of its run."""
        where: Document = {"s": to_key(session_id), "live": True, "run": run}
        if expect is not None:
            at = revision_of(expect)
            if at is None or at["run"] != run:
                return False
            where |= at
        mark = ObjectId()
        change = [{"$set": {"end": "$length", "op": mark}}, {"$unset": list(HEADS_ONLY)}]
        try:
            return bool((await self._server.call(self._history, "update_one", where, change, again=False)).matched_count)
        except AnswerLostError:
            if (await self._server.call(self._history, "update_one", where, change)).matched_count:
                return True
            left = await self._server.call(self._history, "find_one", {"run": run, "end": {"$exists": True}, "op": mark}, {"_id": 1})
            # Without a revision to meet, whoever removed it: the run has left, and this call may see to what is left of it.
            return left is not None or expect is None

    # Listing ----------------------------------------------------------------------------------------------------------

    async def list_heads(self, query: Query, *, cursor: str | None, limit: int) -> Page:
        """See Backend.list_heads."""
        where, index = await self._conditions(query)
        within: Document = {}
        if cursor is not None:
            updated_at, session_id = decode_cursor(cursor)
            place = updated_at, to_key(session_id)
            if query.prefix or query.expired_at is not None or self._server.driver.strict:
                where |= _behind(place, where.pop("updated_at", {}))
            elif (bounds := _bounds(place, where, index)) is not None:
                within = bounds
            else:
                return Page([], None)
        newest_first = [("updated_at", -1), ("s", -1)]
        # All in one answer: the server's own first batch ends after 101.
        whole: Document = {"limit": limit + 1, "batch_size": limit + 1}
        heads = await self._server.rows(self._history, "find", where, HEAD, sort=newest_first, hint=index, **whole, **within)
        found = [_head(one) for one in heads[:limit]]
        more = len(heads) > limit and found
        return Page(found, encode_cursor(found[-1].updated_at, found[-1].session_id) if more else None)

    async def _conditions(self, query: Query) -> tuple[Document, str]:
        """The filter, and the index that serves it."""
        where: Document = {"live": True}
        index = "by_time"
        if query.expired_at is not None:
            # Few, or they would be swept: sorted in memory, no more of them at once than a page has.
            where["expires"] = {"$lte": query.expired_at}
        for name, text in (("agent", query.agent_name), ("user", query.user_id), ("parent", query.parent_id)):
            if text is not None:
                where[name], index = to_key(text), f"by_{name}"
        times = {"$gte": query.since, "$lt": query.until}
        if times := {name: value for name, value in times.items() if value is not None}:
            where["updated_at"] = times
        if query.prefix:
            start = to_key(query.prefix)
            above = after_prefix(start)
            where["s"] = {"$gte": start} if above is None else {"$gte": start, "$lt": above}
            if index == "by_time" and query.expired_at is None:
                alike = {"live": True, "s": where["s"]}
                if await self._server.call(self._history, "count_documents", alike, limit=RARE + 1, hint="by_session") <= RARE:
                    index = "by_session"
        return where, "by_expiry" if query.expired_at is not None else index


def _bounds(place: tuple[float, str], where: Document, index: str) -> Document | None:
    """The stretch of the index of a listing that lies behind a place, for ``find``; None for an empty one.

    It is one scan, which begins at the place, however many sessions have the same time.
    """
    times = where.get("updated_at", {})
    first, end = (times.get("$gte", -math.inf), ""), min(place, (times.get("$lt", math.inf), ""))
    if first >= end:
        return None
    owner = {name: where[name] for name in ("agent", "user", "parent") if index == f"by_{name}"}
    return {name: {**owner, "updated_at": at, "s": key} for name, (at, key) in (("min", first), ("max", end))}


def _behind(place: tuple[float, str], times: Document) -> Document:
    """The filter for what lies behind a place of a listing: two stretches of an index, which the server merges."""
    updated_at, key = place
    behind: list[Document] = [{"updated_at": {**times, "$lt": min(updated_at, times.get("$lt", updated_at))}}]
    if times.get("$gte", updated_at) <= updated_at < times.get("$lt", math.inf):
        behind.append({"updated_at": updated_at, "s": {"$lt": key}})
    return {"$or": behind}


def head_values(head: Head) -> Document:
    """What any write of a head sets. An append raises ``counter`` and ``length``, and a run of the same name keeps its length.

    ``gone``, when the server may remove it, stands only where no fork claims the run: ``_change`` sees to that.
    """
    agent_name, user_id = head.fields.get("agent_name"), head.fields.get("user_id")
    values: Document = {
        "s": to_key(head.session_id),
        "run": head.run,
        "own": head.run,
        "counter": head.counter,
        "offset": count_offset(head),
        "updated_at": head.updated_at,
        "body": encode_head(head),
        "op": ObjectId(),
        **life_of(head),
    }
    if head.shed:
        values["shed"] = head.shed
    if head.ttl is not None:
        values["gone"] = end_of_life(values["expires"])
    optional: dict[str, Any] = {"agent": agent_name, "user": user_id, "parent": head.parent.session_id if head.parent else None}
    return values | {name: to_key(text) for name, text in optional.items() if isinstance(text, str)}


def _change(values: Document) -> Document | list[Document]:
    """The update that puts a head in the place of another."""
    missing = [name for name in OPTIONAL if name not in values]
    if "buf" in values:
        # A new run, which no fork has claimed.
        gone = [*missing, "closed", "claimed", "plain" if "words" in values else "words", *(() if "gone" in values else ("gone",))]
        return {"$set": values, "$unset": dict.fromkeys(gone, "")}
    if "gone" not in values:
        return {"$set": values, "$unset": dict.fromkeys([*missing, "gone"], "")}
    literal = {name: {"$literal": value} for name, value in values.items()}
    literal["gone"] = {"$cond": ["$claimed", "$$REMOVE", literal["gone"]]}
    return [{"$set": literal}, *([{"$unset": missing}] if missing else [])]


def _head(document: Document) -> Head:
    names = ("run", "counter", "length", "updated_at")
    return decode_head(document["body"], from_key(document["s"]), *(document[name] for name in names))
