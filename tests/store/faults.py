"""Faults planted in the protocol of forks, deletes and retention, each with the race that shows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal
from unittest import mock

from turnlog import tree
from turnlog.errors import ConflictError, SessionNotFoundError
from turnlog.heads import Head, Parent, Reference
from turnlog.messages import Record
from turnlog.store import core, writing
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.drive import verb
from turnlog.store.values import SweepReport


class ChildFirst(AsyncSessionStore):
    """The child's head is written before its claim."""

    async def _fork_sharing(self, head: Head, child: Head, *, expect: Head | None = None) -> bool:
        assert self._shared is not None
        if not await self._fork_alone(child, ()):
            return False
        stop = tree.needed_stop(head, tree.position(child, child.past_count))
        await self._shared.add_reference(Reference(head.session_id, head.run, child.session_id, child.run, stop))
        return True


class NoSecondLook(AsyncSessionStore):
    """A fork does not look at the parent again once its claim stands."""

    async def _fork_sharing(self, head: Head, child: Head, *, expect: Head | None = None) -> bool:
        assert self._shared is not None
        stop = tree.needed_stop(head, tree.position(child, child.past_count))
        if not await self._shared.add_reference(Reference(head.session_id, head.run, child.session_id, child.run, stop)):
            return False
        return await self._fork_alone(child, ())


class SecondLookAtRunOnly(AsyncSessionStore):
    """A fork does not see that retention has cut meanwhile."""

    async def _fork_sharing(self, head: Head, child: Head, *, expect: Head | None = None) -> bool:
        assert self._shared is not None
        stop = tree.needed_stop(head, tree.position(child, child.past_count))
        if not await self._shared.add_reference(Reference(head.session_id, head.run, child.session_id, child.run, stop)):
            return False
        again = await self.backend.get_head(head.session_id)
        if again is not None and again.run == head.run and await self._fork_alone(child, ()):
            return True
        await self._release(head, child.run)
        return False


class ForksWhatItRemembers(AsyncSessionStore):
    """A fork goes by the head that was seen last, and does not ask whether it is out of date."""

    async def _fork_sharing(self, head: Head, child: Head, *, expect: Head | None = None) -> bool:
        return await super()._fork_sharing(head, child)


class RecordsFirst(AsyncSessionStore):
    """Delete erases the records before the head goes."""

    @verb
    async def delete_session(self, session_id: str) -> bool:
        head = await self._head(session_id)
        if head is None:
            return True
        await self._mark(head, closed=True)
        await self._collect(session_id, head.run, head.parent)
        await self.backend.remove_head(session_id, head.run)
        await self._retire(head)
        return True


class NoMark(AsyncSessionStore):
    """Nothing notes that a run is about to leave its session."""

    async def _mark(self, head: Head, *, closed: bool) -> None:
        if closed:
            await super()._mark(head, closed=True)


class NeverClosed(AsyncSessionStore):
    """A run that left its session still takes claims while its records go."""

    async def _mark(self, head: Head, *, closed: bool) -> None:
        await super()._mark(head, closed=False)


class ClaimsIgnored(AsyncSessionStore):
    """What forks need of a run goes with it."""

    async def _collect(self, session_id: str, run: str, parent: Parent | None) -> None:
        await self.backend.drop_records(session_id, run, 0, None)
        await super()._collect(session_id, run, parent)


class NotUpwards(AsyncSessionStore):
    """Deleting the last fork of a deleted session leaves the records that only that fork needed, until a sweep that forgets them too."""

    async def _collect(self, session_id: str, run: str, parent: Parent | None) -> None:
        assert self._shared is not None
        await super()._collect(session_id, run, None)
        if parent is not None and not await self._shared.references(session_id, run):
            await self._shared.drop_reference(parent.session_id, parent.run, run)
            await self._shared.forget_run(parent.session_id, parent.run)


class ClaimGoesFirst(AsyncSessionStore):
    """Deleting a fork gives up its claim while its head still stands."""

    @verb
    async def delete_session(self, session_id: str) -> bool:
        head = await self._head(session_id)
        if head is not None and head.parent is not None and self._shared is not None:
            await self._shared.drop_reference(head.parent.session_id, head.parent.run, head.run)
            for mark in await self._shared.marked_runs(head.parent.session_id):
                if mark.run == head.parent.run and mark.closed:
                    await self._collect(mark.session_id, mark.run, mark.parent)
        return await super().delete_session(session_id)


class SweepWithoutClosing(AsyncSessionStore):
    """The sweep drops the claim of a fork that is not there yet, and the fork may still come."""

    async def _drop_if_unborn(self, claim: Reference) -> bool:
        assert self._shared is not None
        if await self._is_child(claim) or await self._shared.references(claim.child_id, claim.child_run):
            return False
        await self._shared.drop_reference(claim.session_id, claim.run, claim.child_run)
        return True


class SweepClosesTheLiving(AsyncSessionStore):
    """The sweep leaves the run of a fork closed that was born while it looked."""

    async def _drop_if_unborn(self, claim: Reference) -> bool:
        assert self._shared is not None
        if await self._is_child(claim):
            return False
        await self._shared.mark_run(claim.child_id, claim.child_run, Parent(claim.session_id, "", claim.run, -1), closed=True)
        return False

    @verb
    async def sweep(self, *, compact: bool = False) -> SweepReport:
        assert self._shared is not None
        for claim in await self._shared.referenced_runs():
            await self._drop_if_unborn(claim)
        return SweepReport()


class SweepTrustsMarks(AsyncSessionStore):
    """The sweep takes every marked run for one that has left, also where delete has only begun."""

    @verb
    async def sweep(self, *, compact: bool = False) -> SweepReport:
        assert self._shared is not None
        for mark in await self._shared.marked_runs():
            await self._shared.mark_run(mark.session_id, mark.run, mark.parent, closed=True)
            await self._collect(mark.session_id, mark.run, mark.parent)
        return SweepReport()


class RetentionTakesAll(AsyncSessionStore):
    """Retention erases what it cuts, whatever forks need."""

    async def _retain(self, session_id: str, limit: int) -> None:
        before, after = await self._change(session_id, lambda head: self._shorter(head, limit))
        for run, start, stop in await self._spans(before, before.shed, after.shed):
            await self.backend.drop_records(session_id, run, start, stop)


class RetentionErasesFirst(AsyncSessionStore):
    """Retention erases before the head says so."""

    async def _retain(self, session_id: str, limit: int) -> None:
        before = await self._existing(session_id)
        after = await self._shorter(before, limit)
        for run, start, stop in await self._spans(before, before.shed, after.shed):
            await self.backend.drop_records(session_id, run, start, stop)
        await super()._retain(session_id, limit)


class RetentionRaises(AsyncSessionStore):
    """An append fails after the fact because the session it cuts is gone."""

    async def _retain_above(self, session_id: str, count: int) -> None:
        if self.max_messages is not None and count > self.max_messages * writing.SLACK:
            await self._retain(session_id, self.max_messages)


class StaleRows(AsyncSessionStore):
    """Snapshots and undo points are believed although retention has cut what they name."""

    async def _outlives(self, head: Head, row: Any) -> bool:
        return True


class ClearMakes(AsyncSessionStore):
    """Clearing a session brings it back when it is deleted meanwhile."""

    @verb
    async def clear_session(self, session_id: str) -> bool:
        if await self._head(session_id) is not None:
            await self._renew(session_id, [], create=True)
        return True


class ClearKeepsRun(AsyncSessionStore):
    """Clearing only moves the beginning, so undo finds what was cleared."""

    @verb
    async def clear_session(self, session_id: str) -> bool:
        async def edit(head: Head) -> Head:
            return replace(head, past=(), past_count=0, path=None, tail=head.length, shed=0)

        try:
            await self._change(session_id, edit)
        except SessionNotFoundError:
            return True
        return True


class ReplaceInTwo(AsyncSessionStore):
    """The history is replaced by clearing and appending."""

    @verb
    async def set_chat_history(self, session_id: str, messages: Sequence[writing.Message]) -> bool:
        await self.clear_session(session_id)
        return await self.add_messages(session_id, messages)


class BlindChange(AsyncSessionStore):
    """A head is written over whatever stands there by then."""

    async def _change(self, session_id: str, edit: Callable[[Head], Awaitable[Head]], *, create: bool = False) -> tuple[Head, Head]:
        head = await (self._head(session_id) if create else self._existing(session_id))
        before = head or core.new_head(session_id)
        after = replace(await edit(before), counter=before.counter + 9)
        now = await self.backend.get_head(session_id)
        await self.backend.put_head(after, expect=now.revision if now else None)
        return before, after


class FirstAppendLost(AsyncSessionStore):
    """Whoever comes second in making a session is told that the message is stored."""

    async def _appended(self, session_id: str, records: Sequence[Record], expect: str | None) -> str:
        done = await self.backend.append(session_id, records, now=1.0, expect=expect)
        if done is not None:
            return done.revision
        head = core.new_head(session_id, length=len(records))
        await self.backend.put_head(head, expect=None, records=records)
        return head.revision


class DroppedBeforeItLands(AsyncSessionStore):
    """What was kept of a turn goes before its append."""

    @verb
    async def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None, turn_id: str | None = None) -> bool:
        if turn_id is not None:
            await self._drop_turn(session_id, turn_id)
        return await super().add_messages(session_id, messages, expect_revision=expect_revision)


class MarkedThenRemoved(AsyncSessionStore):
    """A delete that compares raises the revision and takes that for a lock, though appends do not compare."""

    @verb
    async def delete_session(self, session_id: str, *, expect_revision: str | None = None) -> bool:
        head = await self._head(session_id)
        core.check_revision(session_id, head, expect_revision)
        if head is not None:
            marked = replace(head, counter=head.counter + 1)
            if not await self.backend.put_head(marked, expect=head.revision):
                raise ConflictError("somebody was faster")
            await super().delete_session(session_id)
        return True


class RevertComparesOnce(AsyncSessionStore):
    """A revert looks at the revision that is expected, and then cuts whatever is there."""

    @verb
    async def revert_to_message(self, session_id: str, message_index: int, *, expect_revision: str | None = None) -> bool:
        core.check_revision(session_id, await self._existing(session_id), expect_revision)
        return await super().revert_to_message(session_id, message_index)


def one_short(head: Head, to: tree.Position) -> int:
    """A claim that forgets the last message."""
    return max(0, max((stretch.stop for stretch in to.past if stretch.run == head.run), default=0) - 1)


def same_run(session_id: str, **values: Any) -> Head:
    """A session that is made anew goes on in the run it had."""
    return replace(core.new_head(session_id, **values), run=f"run of {session_id}")


@dataclass(frozen=True)
class Fault:
    """``race``: the name of the race that shows it. ``patch``: what is put in place beside the store."""

    race: str
    store: type[AsyncSessionStore] = AsyncSessionStore
    patch: tuple[Literal["turnlog.tree.needed_stop", "turnlog.store.changing.new_head"], Any] | None = None

    def planted(self) -> AbstractContextManager[Any]:
        return mock.patch(*self.patch) if self.patch else nullcontext()


FAULTS = {
    "the child's head before the claim": Fault("fork, delete the parent", ChildFirst),
    "no second look at the parent": Fault("fork, delete the parent", NoSecondLook),
    "no second look at what retention cut": Fault("retention, fork", SecondLookAtRunOnly),
    "a head that is out of date": Fault("fork of what was seen, revert", ForksWhatItRemembers),
    "records before the head": Fault("delete the fork, delete the parent", RecordsFirst),
    "no mark": Fault("fork, delete the parent", NoMark),
    "never closed": Fault("delete the fork, delete the parent", NeverClosed),
    "claims ignored": Fault("delete the fork, delete the parent", ClaimsIgnored),
    "not upwards": Fault("delete the fork, delete the parent", NotUpwards),
    "the claim goes first": Fault("delete the fork, delete the parent", ClaimGoesFirst),
    "a sweep without closing": Fault("fork, delete the parent, sweep", SweepWithoutClosing),
    "a sweep that closes the living": Fault("fork, sweep", SweepClosesTheLiving),
    "a sweep that trusts marks": Fault("append, delete, sweep", SweepTrustsMarks),
    "retention takes all": Fault("retention, fork", RetentionTakesAll),
    "retention erases first": Fault("retention, fork", RetentionErasesFirst),
    "retention raises": Fault("retention, fork, delete the parent", RetentionRaises),
    "stale rows": Fault("retention, revert to a snapshot", StaleRows),
    "clear makes": Fault("clear, delete", ClearMakes),
    "clear keeps the run": Fault("revert, clear, undo", ClearKeepsRun),
    "replace in two": Fault("replace, fork", ReplaceInTwo),
    "a blind change": Fault("revert, append", BlindChange),
    "the first append lost": Fault("append, append to a new session", FirstAppendLost),
    "a turn dropped before it lands": Fault("land, revert, undo", DroppedBeforeItLands),
    "marked, then removed": Fault("delete what was read, append", MarkedThenRemoved),
    "a revert that compares once": Fault("revert what was read, append", RevertComparesOnce),
    "a claim one short": Fault("fork, delete the parent", patch=("turnlog.tree.needed_stop", one_short)),
    "the same run again": Fault("append, delete and make anew", patch=("turnlog.store.changing.new_head", same_run)),
}
