"""Changing a head by compare-and-set, and what becomes of a run that leaves its session: of erased and expired sessions too."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from turnlog.errors import ConflictError
from turnlog.heads import Head, Parent
from turnlog.store.core import ATTEMPTS, Core, alive, new_head

UNBORN = ""
"""Stands for the parent's life in the mark of a child that never came to be."""


class Changing(Core):
    """Changes heads, and erases sessions."""

    async def _change(self, session_id: str, edit: Callable[[Head], Awaitable[Head]], *, create: bool = False) -> tuple[Head, Head]:
        """Compare-and-set the head to ``edit(head)``; gives the head before and after. The same head back means: nothing to do."""
        for _ in range(ATTEMPTS):
            async with self._together(session_id):
                head = await (self._head(session_id) if create else self._existing(session_id))
                before = head or self._new_head(session_id)
                after = await edit(before)
                if after is before and head is not None:
                    return before, after
                if after.run == before.run:
                    after = replace(after, counter=before.counter + 1, updated_at=time.time())
                if await self.backend.put_head(after, expect=head.revision if head else None):
                    self._seen.forget(session_id)
                    return before, after
            if head is None:
                await self._erase_expired(session_id)
        raise ConflictError(f"session {session_id!r} changes too fast: {ATTEMPTS} attempts lost, try again", session_id=session_id)

    def _new_head(self, session_id: str, **values: Any) -> Head:
        """The head of a session that comes to be now, and lives as long as sessions of this store do."""
        return new_head(session_id, **{"ttl": self.ttl, **values})

    async def _erase(self, head: Head, *, expect: str | None) -> bool:
        """Erase the session of a head if it still has that run, and with ``expect`` is at that revision. Its forks keep what they share."""
        async with self._together(head.session_id):
            await self._mark(head, closed=False)
            if not await self.backend.remove_head(head.session_id, head.run, expect=expect):
                return False
            self._seen.forget(head.session_id)
            await self._retire(head)
            return True

    async def _erase_expired(self, session_id: str) -> None:
        """Erase what is left of a session whose time has run out, so that a new life of it can begin. One that lives is left alone."""
        async with self._together(session_id):
            head = await self._stored(session_id)
            if head is not None and alive(head) is None:
                await self._erase(head, expect=head.revision)

    # What happens to a run that leaves its session: see docs/design.md, fork against delete.

    async def _mark(self, head: Head, *, closed: bool) -> None:
        if self._shared is not None:
            await self._shared.mark_run(head.session_id, head.run, head.parent, closed=closed)

    async def _retire(self, head: Head) -> None:
        """Close a run that no head names any more and erase what no fork needs of it."""
        if self._shared is not None:
            await self._mark(head, closed=True)
            await self._collect(head.session_id, head.run, head.parent)

    async def _collect(self, session_id: str, run: str, parent: Parent | None) -> None:
        """Erase what nobody needs of a closed run, and of the closed runs that only it still needed."""
        shared = self._shared
        assert shared is not None
        while True:
            claims = await shared.references(session_id, run)
            if claims:
                await self.backend.drop_records(session_id, run, max(claim.stop for claim in claims), None)
                for kind in ("snapshot", "undo", "draft", "turn"):
                    await self.backend.drop_rows(session_id, run, kind)
                return
            await self.backend.drop_records(session_id, run, 0, None)
            await self.backend.drop_rows(session_id, run)
            if parent is not None:
                await shared.drop_reference(parent.session_id, parent.run, run)
            if parent is None or parent.born != UNBORN:
                # Else the mark stays: a slow fork may still try to bring the child to life.
                await shared.forget_run(session_id, run)
            above = [mark for mark in await shared.marked_runs(parent.session_id) if mark.run == parent.run] if parent else []
            if not above or not above[0].closed:
                return
            session_id, run, parent, _ = above[0]
