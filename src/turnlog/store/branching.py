"""Tree verbs: create, fork, snapshot, revert and undo, and looking at the tree."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Literal

from turnlog import tree
from turnlog.backends.port import Query
from turnlog.errors import ConflictError, MessageIndexError, NothingToUndoError, SnapshotNotFoundError
from turnlog.heads import Head, Parent, Position, Reference
from turnlog.messages import SessionMessage, check_session_id, json_copy, new_token
from turnlog.store.core import ATTEMPTS, with_fields
from turnlog.store.drive import verb
from turnlog.store.values import SessionData, SessionDiff, SessionSnapshot, session_fields, title_of
from turnlog.store.writing import Writing

LIST_PAGE = 500


class Branching(Writing):
    """Forks, snapshots, reverts."""

    @verb
    async def create_session(
        self,
        session_id: str | None = None,
        title: str | None = None,
        parent_id: str | None = None,
        agent_name: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Create a session and return its id (a random one for None).

        A session that exists keeps its messages; only the fields given here are set on it. ``parent_id`` names an existing session.
        """
        session_id = check_session_id(session_id) if session_id is not None else new_token()
        if parent_id == session_id:
            raise ConflictError(f"session {session_id!r} cannot be its own parent: pass another parent_id", session_id=session_id)
        above = await self._existing(parent_id) if parent_id is not None else None
        if parent_id is not None and session_id in await self._ancestors(parent_id):
            raise ConflictError(f"session {session_id!r} is above {parent_id!r}: pass another parent_id", session_id=session_id)
        given = json_copy({"title": title, "agent_name": agent_name, "metadata": metadata}, "the value")

        async def edit(head: Head) -> Head:
            if head.counter == 0 and above is not None and head.parent is None:
                head = replace(head, parent=Parent(above.session_id, above.born, above.run, -1))
            return with_fields(head, **{name: value for name, value in given.items() if value is not None})

        await self._change(session_id, edit, create=True)
        return session_id

    @verb
    async def fork_session(
        self, session_id: str, from_message_index: int | None = None, title: str | None = None, *, new_session_id: str | None = None
    ) -> str:
        """Fork a session after message ``from_message_index`` (inclusive; None: after the last) and return the fork's id.

        No message is copied, except by the JSON file store. Raises SessionNotFoundError, MessageIndexError when the index is out of
        range, ConflictError when ``new_session_id`` is taken.
        """
        child_id = check_session_id(new_session_id) if new_session_id is not None else new_token()
        for _ in range(ATTEMPTS):
            head = await self._existing(session_id)
            count = head.count if from_message_index is None else check_index(head, from_message_index) + 1
            covered = head.fields.get("last_compaction")
            kept = covered if covered and covered["message_index"] <= count else None
            fields = json.loads(json.dumps(with_fields(head, draft=None, last_compaction=kept, is_shared=None).fields))
            fields["title"] = title or fork_title(title_of(head) or session_id)
            child = tree.forked(
                head,
                await self._short(head, await self._position(head, head.shed + count)),
                session_id=child_id,
                run=new_token(),
                born=new_token(),
                now=time.time(),
                fields=fields,
            )
            if await (self._fork_copying(head, child) if self._shared is None else self._fork_sharing(head, child)):
                return child_id
        raise ConflictError(f"session {session_id!r} changes too fast to fork: try again", session_id=session_id)

    async def _fork_copying(self, head: Head, child: Head) -> bool:
        spans = await self._spans(head, head.shed, child.past_count)
        records = await self.backend.read(head.session_id, spans)
        if len(records) < child.past_count - head.shed:
            return False
        alone = replace(child, past=(), past_count=0, path=None, shed=0, length=len(records))
        return await self._put_child(alone, records)

    async def _fork_sharing(self, head: Head, child: Head) -> bool:
        """The claim first, then the child: a crash between leaves a claim to sweep, never a child without its records."""
        shared = self._shared
        assert shared is not None
        stop = tree.needed_stop(head, tree.position(child, child.past_count))
        async with self._together(child.session_id):
            if not await shared.add_reference(Reference(head.session_id, head.run, child.session_id, child.run, stop)):
                return False
            # Retention and delete look at claims after they have changed the head: whoever sees the old head here came first.
            again = await self.backend.get_head(head.session_id)
            try:
                if again is not None and again.run == head.run and again.shed == head.shed and await self._put_child(child):
                    return True
            except ConflictError:
                await self._release(head, child.run)
                raise
            await self._release(head, child.run)
            return False

    async def _put_child(self, child: Head, records: Any = ()) -> bool:
        if await self.backend.put_head(child, expect=None, records=records):
            return True
        if await self.backend.get_head(child.session_id) is not None:
            raise ConflictError(f"session {child.session_id!r} exists already: choose another new_session_id", session_id=child.session_id)
        return False

    async def _release(self, head: Head, child_run: str) -> None:
        """Drop a claim that came to nothing; if its run has been closed meanwhile, erase what only the claim held."""
        shared = self._shared
        assert shared is not None
        await shared.drop_reference(head.session_id, head.run, child_run)
        for mark in await shared.marked_runs(head.session_id):
            if mark.run == head.run and mark.closed:
                await self._collect(mark.session_id, mark.run, mark.parent)

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
    async def revert_to_snapshot(self, session_id: str, snapshot_id: str) -> bool:
        """Make the history what it was when the snapshot was taken. ``undo_revert`` takes it back. Raises SnapshotNotFoundError."""

        async def target(head: Head) -> Position:
            return tree.decode_position(await self._snapshot_row(head, snapshot_id), head.run)

        return await self._revert(session_id, target)

    @verb
    async def revert_to_message(self, session_id: str, message_index: int) -> bool:
        """Cut the history after message ``message_index`` (inclusive). ``undo_revert`` takes it back. Raises MessageIndexError."""

        async def target(head: Head) -> Position:
            return await self._position(head, head.shed + check_index(head, message_index) + 1)

        return await self._revert(session_id, target)

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

    @verb
    async def get_parent(self, session_id: str) -> str | None:
        """The session this one was forked from, if that still exists."""
        head = await self._head(session_id)
        above = await self._above(head) if head else None
        return above.session_id if above else None

    @verb
    async def get_ancestors(self, session_id: str) -> list[str]:
        """Parent, grandparent and so on, nearest first."""
        return await self._ancestors(session_id)

    @verb
    async def get_children(self, session_id: str) -> list[str]:
        """The sessions forked from this one, oldest first."""
        head = await self._head(session_id)
        return [child.session_id for child in await self._children(head)] if head else []

    @verb
    async def get_session_tree(self, session_id: str) -> dict[str, Any]:
        """The session with all below it: ``{"session_id", "title", "message_count", "children": [...]}``, nested."""
        head = await self._existing(session_id)
        root = tree_node(head)
        open_nodes = [(root, head)]
        while open_nodes:
            node, above = open_nodes.pop()
            for child in await self._children(above):
                node["children"].append(tree_node(child))
                open_nodes.append((node["children"][-1], child))
        return root

    @verb
    async def get_extended_session(self, session_id: str, force_reload: bool = False) -> SessionData:
        """The session as ``get_session`` gives it, with its children and snapshots. Always read afresh."""
        found = await self._read_all(session_id)
        if found is None:
            return SessionData(session_id=session_id)
        head, records = found
        return SessionData(
            messages=[SessionMessage.from_record(record) for record in records],
            children_ids=[child.session_id for child in await self._children(head)],
            snapshots=await self._snapshots(head),
            **session_fields(head),
        )

    @verb
    async def diff(self, a: str, b: str) -> SessionDiff:
        """Compare two sessions: their common ancestor, how many messages they share from the start, then each side's own."""
        left, right = await self._existing(a), await self._existing(b)
        lines = [a, *await self._ancestors(a)]
        others = {b, *await self._ancestors(b)}
        ancestor = next((name for name in lines if name in others), None)
        if self.backend.copies:
            ours, theirs = await self._read_all(a), await self._read_all(b)
            pairs = zip(ours[1] if ours else [], theirs[1] if theirs else [], strict=False)
            common = 0
            for one, other in pairs:
                if (one.id, one.body, one.meta) != (other.id, other.body, other.meta):
                    break
                common += 1
            cuts = (common, common)
        else:
            whole = [await self._position(head, head.shed + head.count) for head in (left, right)]
            shared = await self._common(a, *whole)
            cuts = (max(0, shared - left.shed), max(0, shared - right.shed))
            common = min(cuts)
        sides = []
        for name, cut in zip((a, b), cuts, strict=True):
            found = await self._read(name, lambda count, cut=cut: (min(cut, count), count))  # type: ignore[misc]
            sides.append([SessionMessage.from_record(record) for record in found[1]] if found else [])
        return SessionDiff(ancestor=ancestor, common=common, left=sides[0], right=sides[1])

    async def _revert(self, session_id: str, target: Callable[[Head], Awaitable[Position]]) -> bool:
        async def edit(head: Head) -> Head:
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

    async def _above(self, head: Head) -> Head | None:
        if head.parent is None:
            return None
        above = await self.backend.get_head(head.parent.session_id)
        return above if above is not None and is_parent(above, head) else None

    async def _ancestors(self, session_id: str) -> list[str]:
        names: list[str] = []
        head = await self._head(session_id)
        while head is not None:
            head = await self._above(head)
            if head is None or head.session_id in names:
                break
            names.append(head.session_id)
        return names

    async def _children(self, head: Head) -> list[Head]:
        children: list[Head] = []
        cursor: str | None = None
        while True:
            page = await self.backend.list_heads(Query(parent_id=head.session_id), cursor=cursor, limit=LIST_PAGE)
            children += [child for child in page.heads if is_parent(head, child)]
            if page.cursor is None:
                return sorted(children, key=lambda child: (child.created_at, child.session_id))
            cursor = page.cursor


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


def fork_title(title: str) -> str:
    """The title of a fork that was given none; that of a fork of a fork does not grow."""
    return title if title.startswith("Fork of ") else f"Fork of {title}"


def is_parent(above: Head, child: Head) -> bool:
    """Whether ``above`` is the session that ``child`` was forked from, not a later one of that id. Another program names no life."""
    return child.parent is not None and child.parent.session_id == above.session_id and child.parent.born in ("", above.born)


def tree_node(head: Head) -> dict[str, Any]:
    """A session as a node of ``get_session_tree``."""
    return {"session_id": head.session_id, "title": title_of(head), "message_count": head.count, "children": []}
