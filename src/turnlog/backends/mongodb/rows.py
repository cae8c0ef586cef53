"""Rows, and what forks and deletes need to know of each other: claims and marks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bson import Timestamp
from pymongo import ReturnDocument

from turnlog.backends.mongodb.documents import INLINE, text_size
from turnlog.backends.mongodb.driver import Document
from turnlog.backends.mongodb.heads import Heads
from turnlog.backends.mongodb.server import TakenError
from turnlog.backends.port import RowKind
from turnlog.backends.text_keys import from_key, to_key
from turnlog.errors import StorageError
from turnlog.heads import ClosedRun, Parent, Reference

ATTEMPTS = 20
LARGE_ROW = 16 * INLINE
"""Bytes of a row's text that lies in the row's document."""
REPLACED_OFTEN = ("draft", "turn")
SERVER_TIME = Timestamp(0, 0)
"""The server puts in its place, in a new document, a time that no other has: it is the order of first storing."""


class Rows(Heads):
    """The part of the backend that keeps rows, claims and marks."""

    async def put_row(self, session_id: str, run: str, kind: RowKind, key: str, body: str) -> bool:
        """See Backend.put_row. Written first, then the head is looked at: who changes the head drops its rows after that."""
        session, name = to_key(session_id), to_key(key)
        text: Document = {"body": body}
        if text_size(body) > LARGE_ROW:
            text = {"parts": await self._texts.put(session, run, body)}
        identity = {"run": run, "kind": kind, "key": name}
        new = await self._write_row(identity, session, text)
        if await self._server.call(self._history, "find_one", {"s": session, "live": True, "run": run}, {"_id": 1}) is not None:
            return True
        if new:
            await self._server.call(self._rows, "delete_one", {"_id": identity, "s": session})
            await self._texts.drop(text.get("parts", ()))
        return False

    async def _write_row(self, identity: Document, session: str, text: Document) -> bool:
        """Insert a row, or replace its text; whether it is new."""
        where = {"_id": identity, "s": session}
        gone = {"parts": ""} if "body" in text else {"body": ""}
        for attempt in range(ATTEMPTS):
            if attempt or identity["kind"] in REPLACED_OFTEN:
                change = {"$set": text, "$unset": gone}
                options: dict[str, Any] = {"projection": {"parts": 1}, "return_document": ReturnDocument.BEFORE}
                before = await self._server.call(self._rows, "find_one_and_update", where, change, **options)
                if before is not None:
                    await self._texts.drop(part for part in before.get("parts", ()) if part not in text.get("parts", ()))
                    return False
            try:
                await self._server.call(self._rows, "insert_one", {**where, **identity, "n": SERVER_TIME, **text})
                return True
            except TakenError:
                continue
        raise StorageError(f"a row of run {identity['run']!r} came and went {ATTEMPTS} times while it was written: try again")

    async def get_rows(self, session_id: str, run: str, kind: RowKind, keys: Sequence[str] | None = None) -> dict[str, str]:
        """See Backend.get_rows."""
        where: Document = {"run": run, "kind": kind}
        if keys is not None:
            where = {"_id": {"$in": [{"run": run, "kind": kind, "key": to_key(key)} for key in keys]}}
        names = {"key": 1, "body": 1, "parts": 1}
        found = await self._server.rows(self._rows, "find", where, names, sort=[("n", 1)])
        texts = await self._texts.get(one["parts"] for one in found if "parts" in one)
        rows = {}
        for one in found:
            if "body" in one:
                rows[from_key(one["key"])] = one["body"]
            elif all(part in texts for part in one["parts"]):
                rows[from_key(one["key"])] = "".join(texts[part] for part in one["parts"])
        return rows

    async def drop_rows(self, session_id: str, run: str, kind: RowKind | None = None, keys: Sequence[str] | None = None) -> None:
        """See Backend.drop_rows."""
        where: Document = {"run": run}
        if kind is not None:
            where["kind"] = kind
        if keys is not None:
            where["key"] = {"$in": [to_key(key) for key in keys]}
        if kind is not None and keys is not None:
            where["_id"] = {"$in": [{"run": run, "kind": kind, "key": to_key(key)} for key in keys]}
        large = await self._server.rows(self._rows, "find", {**where, "parts": {"$exists": True}}, {"parts": 1})
        await self._server.call(self._rows, "delete_many", where)
        await self._texts.drop(part for one in large for part in one["parts"])

    # Claims -----------------------------------------------------------------------------------------------------------

    async def add_reference(self, reference: Reference) -> bool:
        """See SharedRuns.add_reference. Written first, then the mark is looked at: who closes a run looks at claims after that."""
        session_id, run, child_id, child_run, stop = reference
        claim = {"s": to_key(session_id), "run": run, "child": to_key(child_id), "child_run": child_run, "stop": stop}
        where = {"_id": {"run": run, "child_run": child_run}, "s": claim["s"]}
        written = await self._server.call(self._claims, "update_one", where, {"$set": claim}, upsert=True)
        if not await self._is_closed(run):
            return True
        if written.upserted_id is not None:
            await self._server.call(self._claims, "delete_one", where)
        return False

    async def references(self, session_id: str, run: str) -> list[Reference]:
        """See SharedRuns.references."""
        return [_reference(claim) for claim in await self._server.rows(self._claims, "find", {"run": run})]

    async def drop_reference(self, session_id: str, run: str, child_run: str) -> None:
        """See SharedRuns.drop_reference."""
        await self._server.call(self._claims, "delete_one", {"_id": {"run": run, "child_run": child_run}, "s": to_key(session_id)})

    async def referenced_runs(self) -> list[Reference]:
        """See SharedRuns.referenced_runs."""
        return [_reference(claim) for claim in await self._server.rows(self._claims, "find", {})]

    # Marks ------------------------------------------------------------------------------------------------------------

    async def mark_run(self, session_id: str, run: str, parent: Parent | None, *, closed: bool) -> None:
        """See SharedRuns.mark_run. The mark of a closed run owns it, so that no head can; a head that owns it already is closed itself."""
        session = to_key(session_id)
        where = {"_id": {"mark": run}, "s": session}
        values = {"mark": True, "of": run, "parent": json.dumps(parent) if parent else None}
        if not closed:
            await self._server.call(self._history, "update_one", where, {"$set": values}, upsert=True)
            return
        values["closed"] = True
        for _ in range(ATTEMPTS):
            try:
                await self._server.call(self._history, "update_one", where, {"$set": {**values, "own": run}}, upsert=True)
                return
            except TakenError:
                head = {"s": session, "live": True, "run": run}
                done = await self._server.call(self._history, "update_one", head, {"$set": {"closed": True}})
                if done.matched_count:
                    await self._server.call(self._history, "update_one", where, {"$set": values}, upsert=True)
                    return
        raise StorageError(f"run {run!r} changed its head {ATTEMPTS} times while it was closed: try again")

    async def marked_runs(self, session_id: str | None = None) -> list[ClosedRun]:
        """See SharedRuns.marked_runs."""
        where: Document = {"mark": True}
        if session_id is not None:
            where["s"] = to_key(session_id)
        return [
            ClosedRun(
                from_key(mark["s"]), mark["of"], Parent(*json.loads(mark["parent"])) if mark["parent"] else None, mark.get("closed", False)
            )
            for mark in await self._server.rows(self._history, "find", where)
        ]

    async def forget_run(self, session_id: str, run: str) -> None:
        """See SharedRuns.forget_run."""
        session = to_key(session_id)
        mark = await self._server.call(self._history, "find_one_and_delete", {"_id": {"mark": run}, "s": session})
        if mark is None or ("closed" in mark and "own" not in mark):
            head = {"s": session, "live": True, "run": run}
            await self._server.call(self._history, "update_one", head, {"$unset": {"closed": ""}})


def _reference(claim: Document) -> Reference:
    return Reference(from_key(claim["s"]), claim["run"], from_key(claim["child"]), claim["child_run"], claim["stop"])
