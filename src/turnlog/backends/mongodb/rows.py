"""Rows: snapshots, undo points, paths, drafts, turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson import Timestamp
from pymongo import ReturnDocument

from turnlog.backends.mongodb.documents import INLINE, text_size
from turnlog.backends.mongodb.driver import Document
from turnlog.backends.mongodb.heads import Heads
from turnlog.backends.mongodb.outcomes import TakenError
from turnlog.backends.port import RowKind
from turnlog.backends.text_keys import from_key, to_key
from turnlog.errors import StorageError

ATTEMPTS = 20
LARGE_ROW = 16 * INLINE
"""Bytes of a row's text that lies in the row's document."""
REPLACED_OFTEN = ("draft", "turn")
SERVER_TIME = Timestamp(0, 0)
"""The server puts in its place, in a new document, a time that no other has: it is the order of first storing."""


class Rows(Heads):
    """The part of the backend that keeps rows."""

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
