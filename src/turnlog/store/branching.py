"""Tree verbs: create, fork, compare, and looking at the tree."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from turnlog import tree
from turnlog.backends.port import Query
from turnlog.errors import ConflictError
from turnlog.heads import Head, Parent, Position, Reference
from turnlog.messages import Record, SessionMessage, check_session_id, json_copy, new_token
from turnlog.store.core import ATTEMPTS, UNDER_WAY, alive, with_fields
from turnlog.store.drive import verb
from turnlog.store.reverting import Reverting, check_index
from turnlog.store.values import SessionData, SessionDiff, session_fields, title_of

LIST_PAGE = 500


class Branching(Reverting):
    """Creates and forks sessions, and tells how they hang together."""

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

        No message is copied, except by the JSON file store. A store without a ttl gives the fork that of its parent. Raises
        SessionNotFoundError, MessageIndexError when the index is out of range, ConflictError when ``new_session_id`` is taken.
        """
        child_id = check_session_id(new_session_id) if new_session_id is not None else new_token()
        for _ in range(ATTEMPTS):
            seen = self._remembered(session_id, from_message_index)
            head = seen or await self._existing(session_id)
            count = head.count if from_message_index is None else check_index(head, from_message_index) + 1
            covered = head.fields.get("last_compaction")
            kept = covered if covered and covered["message_index"] <= count else None
            fields = json.loads(json.dumps(with_fields(head, **UNDER_WAY, last_compaction=kept, is_shared=None).fields))
            fields["title"] = title or fork_title(title_of(head) or session_id)
            child = tree.forked(
                head,
                await self._short(head, await self._position(head, head.shed + count)),
                session_id=child_id,
                run=new_token(),
                born=new_token(),
                now=time.time(),
                fields=fields,
                ttl=self.ttl if self.ttl is not None else head.ttl,
            )
            if self._shared is None:
                stored = await self._fork_copying(head, child)
            else:
                stored = await self._fork_sharing(head, child, expect=seen)
            if stored:
                if seen is None:
                    self._seen.note(head)
                return child_id
            self._seen.forget(session_id)
        raise ConflictError(f"session {session_id!r} changes too fast to fork: try again", session_id=session_id)

    async def _fork_copying(self, head: Head, child: Head) -> bool:
        spans = await self._spans(head, head.shed, child.past_count)
        records = await self.backend.read(head.session_id, spans)
        if len(records) < child.past_count - head.shed:
            return False
        alone = replace(child, past=(), past_count=0, path=None, shed=0, length=len(records))
        return await self._fork_alone(alone, records)

    def _remembered(self, session_id: str, index: int | None) -> Head | None:
        """The session's head as it was last seen, where a fork at ``index`` can go by that; the engine sees whether it is out of date."""
        head = alive(self._seen.get(check_session_id(session_id)))
        if head is None or self._shared is None or head.path is not None or len(head.past) + 1 >= tree.MAX_PAST:
            return None
        return head if index is None or (type(index) is int and 0 <= index < head.count) else None

    async def _fork_sharing(self, head: Head, child: Head, *, expect: Head | None = None) -> bool:
        shared = self._shared
        assert shared is not None
        stop = tree.needed_stop(head, Position(child.past, child.past_count, child.path))
        claim = Reference(head.session_id, head.run, child.session_id, child.run, stop)
        async with self._together(child.session_id):
            outcome = await shared.put_fork(child, claim, shed=head.shed, expect=expect)
            if outcome == "stored":
                return True
            await self._release(head, child.run)
            if outcome == "taken":
                await self._check_untaken(child.session_id)
            return False

    async def _fork_alone(self, child: Head, records: Sequence[Record]) -> bool:
        if await self.backend.put_head(child, expect=None, records=records):
            return True
        await self._check_untaken(child.session_id)
        return False

    async def _check_untaken(self, child_id: str) -> None:
        if await self._head(child_id) is not None:
            raise ConflictError(f"session {child_id!r} exists already: choose another new_session_id", session_id=child_id)
        await self._erase_expired(child_id)

    async def _release(self, head: Head, child_run: str) -> None:
        """Drop a claim that came to nothing; if its run has been closed meanwhile, erase what only the claim held."""
        shared = self._shared
        assert shared is not None
        await shared.drop_reference(head.session_id, head.run, child_run)
        for mark in await shared.marked_runs(head.session_id):
            if mark.run == head.run and mark.closed:
                await self._collect(mark.session_id, mark.run, mark.parent)

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

    async def _above(self, head: Head) -> Head | None:
        if head.parent is None:
            return None
        above = await self._head(head.parent.session_id)
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
            children += [child for child in page.heads if is_parent(head, child) and alive(child)]
            if page.cursor is None:
                return sorted(children, key=lambda child: (child.created_at, child.session_id))
            cursor = page.cursor


def fork_title(title: str) -> str:
    """The title of a fork that was given none; that of a fork of a fork does not grow."""
    return title if title.startswith("Fork of ") else f"Fork of {title}"


def is_parent(above: Head, child: Head) -> bool:
    """Whether ``above`` is the session that ``child`` was forked from, not a later one of that id. Another program names no life."""
    return child.parent is not None and child.parent.session_id == above.session_id and child.parent.born in ("", above.born)


def tree_node(head: Head) -> dict[str, Any]:
    """A session as a node of ``get_session_tree``."""
    return {"session_id": head.session_id, "title": title_of(head), "message_count": head.count, "children": []}
