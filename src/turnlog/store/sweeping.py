"""The sweep: finish what crashed deletes and forks left half done, and give back space."""

from __future__ import annotations

from turnlog.heads import Head, Parent, Reference
from turnlog.store.drive import verb
from turnlog.store.values import SweepReport
from turnlog.store.writing import UNBORN, Writing


class Sweeping(Writing):
    """Puts the store in order. Every step is safe beside running writers and safe to repeat after a crash."""

    @verb
    async def sweep(self, *, compact: bool = False) -> SweepReport:
        """Erase the remains of cleared and deleted sessions that a crash left, and claims of forks that never came to be.

        ``compact=True`` also rewrites the live data files so that nothing erased stays in them; it may take as long as copying them.
        """
        self._check_open()
        collected = dropped = 0
        if self._shared is not None:
            for mark in await self._shared.marked_runs():
                head = await self._head(mark.session_id)
                if head is not None and head.run == mark.run:
                    if mark.closed:
                        await self._shared.forget_run(mark.session_id, mark.run)
                    continue
                if not mark.closed:
                    await self._shared.mark_run(mark.session_id, mark.run, mark.parent, closed=True)
                    collected += 1
                await self._collect(mark.session_id, mark.run, mark.parent)
            for claim in await self._shared.referenced_runs():
                dropped += await self._drop_if_unborn(claim)
        if compact:
            await self.backend.compact()
        return SweepReport(collected, dropped)

    async def _drop_if_unborn(self, claim: Reference) -> bool:
        """Drop a claim whose child never came to be; the child's run is closed first, so that it never will."""
        shared = self._shared
        assert shared is not None
        if await self._is_child(claim) or await shared.references(claim.child_id, claim.child_run):
            return False
        parent = Parent(claim.session_id, UNBORN, claim.run, -1)
        async with self._together(claim.child_id):
            await shared.mark_run(claim.child_id, claim.child_run, parent, closed=True)
            if await self._is_child(claim):
                # Born between the look and the mark, which must not stay on a run that lives.
                await shared.forget_run(claim.child_id, claim.child_run)
                if await self._is_child(claim):
                    return False
                await shared.mark_run(claim.child_id, claim.child_run, parent, closed=True)
        if await shared.references(claim.child_id, claim.child_run):
            return False
        await shared.drop_reference(claim.session_id, claim.run, claim.child_run)
        for mark in await shared.marked_runs(claim.session_id):
            if mark.run == claim.run and mark.closed:
                await self._collect(mark.session_id, mark.run, mark.parent)
        return True

    async def _is_child(self, claim: Reference) -> bool:
        head: Head | None = await self.backend.get_head(claim.child_id)
        return head is not None and head.run == claim.child_run
