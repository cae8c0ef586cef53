"""What forks and deletes need to know of each other: claims and marks; and a fork, with its claim, in one command."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne

from turnlog.backends.forking import put_fork_in_steps
from turnlog.backends.mongodb.documents import NOT_THERE
from turnlog.backends.mongodb.driver import Document
from turnlog.backends.mongodb.heads import head_values
from turnlog.backends.mongodb.lives import AGE, watch
from turnlog.backends.mongodb.opening import claim_writes
from turnlog.backends.mongodb.outcomes import AnswerLostError, TakenError
from turnlog.backends.mongodb.rows import ATTEMPTS, Rows
from turnlog.backends.port import Forked
from turnlog.backends.text_keys import from_key, to_key
from turnlog.errors import StorageError
from turnlog.heads import ClosedRun, Head, Parent, Reference

IN_ONE_LOOK = 500
LOOK_AT_PARENT = 1
"""The number of that write in the command of a fork."""


class Claims(Rows):
    """The part of the backend that keeps claims and marks, and forks."""

    # Claims -----------------------------------------------------------------------------------------------------------

    async def add_reference(self, reference: Reference) -> bool:
        """See SharedRuns.add_reference. Written first, then the mark is looked at: who closes a run looks at claims after that."""
        written = await self._until_free(partial(self._server.call, self._history, "bulk_write", list(claim_writes(_claim(reference)))))
        if not await self._is_closed(reference.run):
            return True
        if written.upserted_count:
            await self.drop_reference(reference.session_id, reference.run, reference.child_run)
        return False

    async def references(self, session_id: str, run: str) -> list[Reference]:
        """See SharedRuns.references."""
        return [_reference(claim) for claim in await self._server.rows(self._history, "find", {"claim": True, "of": run}, hint="by_claim")]

    async def drop_reference(self, session_id: str, run: str, child_run: str) -> None:
        """See SharedRuns.drop_reference."""
        await self._server.call(self._history, "delete_one", {"_id": {"claim": run, "by": child_run}, "s": to_key(session_id)})

    async def referenced_runs(self) -> list[Reference]:
        """See SharedRuns.referenced_runs. A child with a watch is not among them: that tells when the server has removed it."""
        stored = await self._server.rows(self._history, "find", {"claim": True}, hint="by_claim")
        watched: set[str] = set()
        for start in range(0, len(stored), IN_ONE_LOOK):
            places = [{"run": claim["child_run"], "base": -1} for claim in stored[start : start + IN_ONE_LOOK]]
            watched |= {one["run"] for one in await self._server.rows(self._history, "find", {"_id": {"$in": places}}, {"run": 1})}
        return [_reference(claim) for claim in stored if claim["child_run"] not in watched]

    # Forks ------------------------------------------------------------------------------------------------------------

    async def put_fork(self, child: Head, claim: Reference, *, shed: int, expect: Head | None = None) -> Forked:
        """See SharedRuns.put_fork.

        One command with three writes, each of which is made only after the one before: the claim; a note in the parent's head, which
        fails if that is no longer what it was; the child's head. The oplog has them in this order, and a server that steps down ends
        the command, so no member ever shows the child without the claim. A router for shards would go on to the child's shard also when
        a majority of the claim's has not confirmed it: there each step waits for the one before.
        """
        await self._server.get_ready()
        if self._server.driver.sharded:
            return await put_fork_in_steps(self, child, claim, shed=shed, expect=expect)
        at = {} if expect is None else {"run": expect.run, "counter": expect.counter, "length": expect.length}
        values = head_values(child)
        values |= await self._write_beginning(values, (), child.length)
        identity = ObjectId()
        writes = [*self._claim_and_look(claim, shed, at), *([watch(values["s"], child)] if child.ttl is not None else [])]
        writes.append(UpdateOne({"_id": identity}, {"$setOnInsert": values}, upsert=True))
        try:
            outcome = await self._fork_once(writes)
        except AnswerLostError as error:
            outcome = await self._fork_once(writes)
            if outcome != "stored":
                if await self._server.call(self._history, "find_one", {"_id": identity, "s": values["s"]}, {"_id": 1}) is None:
                    # It may still take place: the caller must not release the claim.
                    raise error
                outcome = "stored"
        if outcome == "stored":
            self._lives.learn(values["s"], values)
        return outcome

    async def _fork_once(self, writes: Sequence[UpdateOne]) -> Forked:
        """The outcome of the command. The child has an ``_id`` of its own, so that it is known again when the command is repeated."""
        while True:
            try:
                await self._server.call(self._history, "bulk_write", list(writes), again=False)
                return "stored"
            except TakenError as error:
                if error.number == LOOK_AT_PARENT:
                    return "moved"
                if error.number > LOOK_AT_PARENT:
                    return "taken"
                # Somebody else has just written the same claim.

    def _claim_and_look(self, claim: Reference, shed: int, at: Document) -> tuple[UpdateOne, UpdateOne]:
        """The claim; and the note in the parent's head, which refuses a head that is another, or closed, by an ``_id`` that is taken."""
        written = _claim(claim)
        identity = {"claim": claim.run, "by": claim.child_run}
        where = {"s": written["s"], "live": True, "run": claim.run, "closed": NOT_THERE, "shed": shed or NOT_THERE, **at}
        change = {"$set": {"claimed": True}, "$unset": {"gone": ""}, "$setOnInsert": {"_id": identity}}
        first = UpdateOne({"_id": identity}, {"$set": {"claim": True, "of": written.pop("run"), **written}}, upsert=True)
        return first, UpdateOne(where, change, upsert=True, hint="by_session")

    # Marks ------------------------------------------------------------------------------------------------------------

    async def mark_run(self, session_id: str, run: str, parent: Parent | None, *, closed: bool) -> None:
        """See SharedRuns.mark_run. The mark of a closed run owns it, so that no head can; a head that owns it already is closed itself."""
        session = to_key(session_id)
        where = {"_id": {"mark": run}, "s": session}
        values = {"mark": True, "of": run, "parent": json.dumps(parent) if parent else None}
        if not closed:
            await self._until_free(partial(self._server.call, self._history, "update_one", where, {"$set": values}, upsert=True))
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
                    await self._until_free(partial(self._server.call, self._history, "update_one", where, {"$set": values}, upsert=True))
                    return
        raise StorageError(f"run {run!r} changed its head {ATTEMPTS} times while it was closed: try again")

    async def _until_free(self, upsert: Callable[[], Awaitable[Any]]) -> Any:
        """What an upsert returns. It is refused where somebody else has inserted the same document since it looked."""
        for _ in range(ATTEMPTS):
            with suppress(TakenError):
                return await upsert()
        raise StorageError(f"a mark or a claim came and went {ATTEMPTS} times while it was written: try again")

    async def marked_runs(self, session_id: str | None = None) -> list[ClosedRun]:
        """See SharedRuns.marked_runs."""
        where: Document = {"mark": True}
        if session_id is not None:
            where["s"] = to_key(session_id)
        marks = await self._server.rows(self._history, "find", where)
        if session_id is None:
            # The head that the server removed left no mark; who asks for all is about to put things in order.
            marks += await self._left_unmarked()
        return [
            ClosedRun(
                from_key(mark["s"]), mark["of"], Parent(*json.loads(mark["parent"])) if mark["parent"] else None, mark.get("closed", False)
            )
            for mark in marks
        ]

    async def _left_unmarked(self) -> list[Document]:
        """Runs whose session ended, and whose head the server has removed by itself. Those that live on are looked at later."""
        now = time.time()
        left: list[Document] = []
        due = await self._server.rows(self._history, "find", {"look": {"$lte": now}}, hint="by_watch")
        for start in range(0, len(due), IN_ONE_LOOK):
            some = due[start : start + IN_ONE_LOOK]
            named = await self._named(some)
            left += [{"s": one["s"], "of": one["run"], "parent": one["parent"]} for one in some if one["run"] not in named]
            later = [UpdateOne({"_id": one["_id"], "s": one["s"]}, {"$set": {"look": now + AGE}}) for one in some if one["run"] in named]
            if later:
                await self._server.call(self._history, "bulk_write", later)
        return left

    async def _named(self, runs: Sequence[Document]) -> set[str]:
        """Those of the runs that live or left something to be shown. Heads first: a run is marked before its head goes."""
        wanted = [run["run"] for run in runs]
        heads = {"live": True, "s": {"$in": [run["s"] for run in runs]}, "run": {"$in": wanted}}
        found = {head["run"] for head in await self._server.rows(self._history, "find", heads, {"run": 1})}
        marks = {"_id": {"$in": [{"mark": run} for run in wanted]}}
        return found | {mark["of"] for mark in await self._server.rows(self._history, "find", marks, {"of": 1})}

    async def forget_run(self, session_id: str, run: str) -> None:
        """See SharedRuns.forget_run."""
        session = to_key(session_id)
        mark = await self._server.call(self._history, "find_one_and_delete", {"_id": {"mark": run}, "s": session})
        if mark is None or ("closed" in mark and "own" not in mark):
            head = {"s": session, "live": True, "run": run}
            await self._server.call(self._history, "update_one", head, {"$unset": {"closed": ""}})


def _claim(reference: Reference) -> Document:
    session_id, run, child_id, child_run, stop = reference
    return {"s": to_key(session_id), "run": run, "child": to_key(child_id), "child_run": child_run, "stop": stop}


def _reference(claim: Document) -> Reference:
    return Reference(from_key(claim["s"]), claim["of"], from_key(claim["child"]), claim["child_run"], claim["stop"])
