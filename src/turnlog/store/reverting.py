"""Verbs that move a session's history: snapshots, reverts and undo. None of them copies a message."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from turnlog import tree
from turnlog.errors import ConflictError, CorruptSessionError, MessageIndexError, NothingToUndoError, SnapshotNotFoundError
from turnlog.heads import Head, Position
from turnlog.messages import SessionMessage, json_copy, new_token
from turnlog.store.core import ATTEMPTS, check_revision, with_fields
from turnlog.store.drive import verb
from turnlog.store.turns import Turns
from turnlog.store.values import SessionSnapshot


class Reverting(Turns):
    """Names positions of a history, and goes back to them."""

    @verb
    async def create_snapshot(self, session_id: str, label: str | None = None, metadata: dict[str, Any] | None = None) -> str:
        """Name the present state of the history and return the snapshot's id. Copies nothing."""
        snapshot_id = new_token()
        note = json_copy({"label": label, "metadata": metadata or {}, "created_at": time.time()}, "snapshot")
        for _ in range(ATTEMPTS):
            head = await self._existing(session_id)
            to = await self._position(head, head.shed + head.count)
            body = json.dumps({**tree.encode_position(to, head.run), "index": head.count - 1, **note})
            if await self.backend.put_row(session_id, head.run, "snapshot", snapshot_id, body):
                return snapshot_id
        raise ConflictError(f"session {session_id!r} changes too fast: try again", session_id=session_id)

    @verb
    async def get_snapshots(self, session_id: str) -> list[SessionSnapshot]:
        """The session's snapshots, oldest first."""
        head = await self._head(session_id)
        return await self._snapshots(head) if head else []

    @verb
    async def delete_snapshot(self, session_id: str, snapshot_id: str) -> bool:
        """Forget a snapshot; the messages stay. Raises SnapshotNotFoundError."""
        head = await self._existing(session_id)
        await self._snapshot_row(head, snapshot_id)
        await self.backend.drop_rows(session_id, head.run, "snapshot", [snapshot_id])
        return True

    @verb
    async def get_snapshot_messages(
        self, session_id: str, snapshot_id: str, start: int = 0, stop: int | None = None
    ) -> list[SessionMessage]:
        """Messages ``start`` to ``stop`` of the history as it was when the snapshot was taken; indexes as in a Python slice.

        Raises SessionNotFoundError, SnapshotNotFoundError.
        """
        revision = ""
        while True:
            head = await self._existing(session_id)
            then = tree.moved(head, tree.decode_position(await self._snapshot_row(head, snapshot_id), head.run), undo=None)
            low, high, _ = slice(start, stop).indices(then.count)
            if low >= high:
                return []
            records = await self.backend.read(session_id, await self._spans(then, low + then.shed, high + then.shed))
            if len(records) == high - low:
                return [SessionMessage.from_record(record) for record in records]
            if head.revision == revision:
                text = f"session {session_id!r} misses {high - low - len(records)} messages of snapshot {snapshot_id!r}"
                raise CorruptSessionError(text, session_id=session_id)
            revision = head.revision

    @verb
    async def revert_to_snapshot(self, session_id: str, snapshot_id: str, *, expect_revision: str | None = None) -> bool:
        """Make the history what it was when the snapshot was taken. ``undo_revert`` takes it back.

        Raises SnapshotNotFoundError; ConflictError when the session is no longer at ``expect_revision``.
        """

        async def target(head: Head) -> Position:
            return tree.decode_position(await self._snapshot_row(head, snapshot_id), head.run)

        return await self._revert(session_id, target, expect_revision)

    @verb
    async def revert_to_message(self, session_id: str, message_index: int, *, expect_revision: str | None = None) -> bool:
        """Cut the history after message ``message_index`` (inclusive). ``undo_revert`` takes it back.

        Raises MessageIndexError; ConflictError when the session is no longer at ``expect_revision``.
        """

        async def target(head: Head) -> Position:
            return await self._position(head, head.shed + check_index(head, message_index) + 1)

        return await self._revert(session_id, target, expect_revision)

    @verb
    async def undo_revert(self, session_id: str) -> bool:
        """Take back the last revert. Messages added since stay stored, and a further undo brings them back. Raises NothingToUndoError."""

        async def edit(head: Head) -> Head:
            rows = await self._living_rows(head, "undo", [head.undo]) if head.undo else {}
            if not rows:
                raise NothingToUndoError(f"session {session_id!r} has no revert to undo", session_id=session_id)
            point = rows[head.undo or ""]
            to = tree.decode_position(point, head.run)
            here = await self._position(head, head.shed + head.count)
            kept = await self._common(session_id, here, to) == here.count
            below = point["below"]
            undo = below if kept else await self._undo_point(head, here, below)
            covered = point.get("compaction")
            if covered:
                covered = {**covered, "message_index": max(0, covered["message_index"] - head.shed)}
            return with_fields(tree.moved(head, await self._short(head, to), undo=undo), last_compaction=covered)

        before, _ = await self._change(session_id, edit)
        if before.undo is not None:
            await self.backend.drop_rows(session_id, before.run, "undo", [before.undo])
        return True

    async def _revert(self, session_id: str, target: Callable[[Head], Awaitable[Position]], expect: str | None) -> bool:
        async def edit(head: Head) -> Head:
            check_revision(session_id, head, expect)
            to = await target(head)
            here = await self._position(head, head.shed + head.count)
            if here.count == to.count and await self._common(session_id, here, to) == to.count:
                return head
            after = tree.moved(head, await self._short(head, to), undo=await self._undo_point(head, here, head.undo))
            covered = head.fields.get("last_compaction")
            if covered and await self._common(session_id, here, to) < head.shed + covered["message_index"]:
                # The summary tells of messages that are no longer there, and would stand for those to come.
                return with_fields(after, last_compaction=None)
            return after

        await self._change(session_id, edit)
        return True

    async def _undo_point(self, head: Head, here: Position, below: str | None) -> str:
        key = new_token()
        covered = head.fields.get("last_compaction")
        if covered:
            # Counted from the very first message: retention may cut before this is undone.
            covered = {**covered, "message_index": covered["message_index"] + head.shed}
        body = json.dumps({**tree.encode_position(here, head.run), "below": below, "compaction": covered})
        await self.backend.put_row(head.session_id, head.run, "undo", key, body)
        return key

    async def _snapshots(self, head: Head) -> list[SessionSnapshot]:
        return [
            SessionSnapshot(
                id=key,
                session_id=head.session_id,
                message_index=row["count"] - head.shed - 1,
                created_at=row["created_at"],
                label=row["label"],
                metadata=row["metadata"],
            )
            for key, row in (await self._living_rows(head, "snapshot")).items()
        ]

    async def _snapshot_row(self, head: Head, snapshot_id: str) -> dict[str, Any]:
        rows = await self._living_rows(head, "snapshot", [snapshot_id])
        if snapshot_id not in rows:
            raise SnapshotNotFoundError(
                f"session {head.session_id!r} has no snapshot {snapshot_id!r:.80}: get_snapshots lists them",
                session_id=head.session_id,
                snapshot_id=snapshot_id,
            )
        return rows[snapshot_id]

    async def _living_rows(self, head: Head, kind: Literal["snapshot", "undo"], keys: list[str] | None = None) -> dict[str, dict[str, Any]]:
        """Snapshots or undo points, without those before the cut, which retention is about to drop, or was when it crashed."""
        rows = {key: json.loads(body) for key, body in (await self.backend.get_rows(head.session_id, head.run, kind, keys)).items()}
        return {key: row for key, row in rows.items() if head.shed == 0 or await self._outlives(head, row)}


def check_index(head: Head, index: object) -> int:
    """``index`` if a message of the kept history has it."""
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < head.count:
        have = f"0 to {head.count - 1}" if head.count else "none, it is empty"
        raise MessageIndexError(
            f"session {head.session_id!r} has no message with the index {index!r:.80}; it has {have}",
            session_id=head.session_id,
            index=index,
            count=head.count,
        )
    return index
