"""Erasing many sessions: by what they have in common, and in the sweep, which also finishes what crashes left half done."""

from __future__ import annotations

import time

from turnlog.backends.port import Query
from turnlog.heads import Head, Parent, Reference
from turnlog.store.branching import LIST_PAGE
from turnlog.store.changing import UNBORN
from turnlog.store.conditions import Age, InvalidArgumentError, check_named, moment_before
from turnlog.store.drive import verb
from turnlog.store.values import SweepReport
from turnlog.store.writing import Writing


class Sweeping(Writing):
    """Puts the store in order. Every step is safe beside running writers and safe to repeat after a crash."""

    @verb
    async def sweep(self, *, compact: bool = False) -> SweepReport:
        """Erase expired sessions, the remains of cleared and deleted ones that a crash left, and claims of forks that never came to be.

        Forks of an expired session keep what they share with it.
        ``compact=True`` also rewrites the live data files so that nothing erased stays in them; it may take as long as copying them.
        """
        self._check_open()
        expired = await self._erase_all(Query(expired_at=time.time()), only_if_unchanged=True)
        collected = dropped = 0
        if self._shared is not None:
            for mark in await self._shared.marked_runs():
                head = await self._stored(mark.session_id)
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
        return SweepReport(collected, dropped, expired)

    @verb
    async def delete_where(self, *, user_id: str | None = None, agent: str | None = None, older_than: Age | None = None) -> int:
        """Erase the sessions that meet every condition given, as ``delete_session`` does, and return how many they were.

        ``user_id`` and ``agent``: as ``set_agent_info`` noted them. ``older_than``: last changed longer ago than so many seconds or a
        timedelta, or before a datetime with a time zone; a session that is changed meanwhile then stays. Pages through heads, so that
        one call may erase any number; a session that comes to match meanwhile may stay. Raises InvalidArgumentError without a condition.
        """
        check_named(user_id, "user_id")
        check_named(agent, "agent")
        until = moment_before(older_than) if older_than is not None else None
        if user_id is None and agent is None and until is None:
            text = "delete_where without a condition would erase every session: pass user_id, agent or older_than"
            raise InvalidArgumentError(text, name="conditions", value=None)
        query = Query(user_id=user_id, agent_name=agent, until=until)
        return await self._erase_all(query, only_if_unchanged=until is not None)

    async def _erase_all(self, query: Query, *, only_if_unchanged: bool) -> int:
        """Erase the sessions of a query, expired ones too. One that changed since it was listed stays, or is looked at again."""
        self._check_open()
        erased = 0
        cursor: str | None = None
        while True:
            page = await self.backend.list_heads(query, cursor=cursor, limit=LIST_PAGE)
            for listed in page.heads:
                head: Head | None = listed
                while head is not None and not await self._erase(head, expect=head.revision):
                    head = None if only_if_unchanged else await self._stored(listed.session_id)
                    if head is not None and not _is_of(head, query):
                        head = None
                erased += head is not None
            if page.cursor is None:
                return erased
            cursor = page.cursor

    async def _drop_if_unborn(self, claim: Reference) -> bool:
        """Drop a claim whose child never came to be; the child's run is closed first, so that it never will."""
        shared = self._shared
        assert shared is not None
        if await self._is_child(claim) or await shared.references(claim.child_id, claim.child_run):
            return False
        parent = Parent(claim.session_id, UNBORN, claim.run, -1)
        async with self._together(claim.child_id):
            if claim not in await shared.references(claim.session_id, claim.run):
                # Its child was erased since the claim was listed. A mark for it would stay for good.
                return False
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


def _is_of(head: Head, query: Query) -> bool:
    """Whether a session is of the user and agent that a query names."""
    given = ((query.user_id, "user_id"), (query.agent_name, "agent_name"))
    return all(wanted is None or head.fields.get(name) == wanted for wanted, name in given)
