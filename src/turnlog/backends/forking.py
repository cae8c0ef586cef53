"""A fork in steps, for engines that cannot write a claim and a child's head as one."""

from __future__ import annotations

from typing import Protocol

from turnlog.backends.port import Forked
from turnlog.heads import Head, Reference


class Stepping(Protocol):
    """The verbs of the port that the steps are made of."""

    async def add_reference(self, reference: Reference) -> bool:
        """See SharedRuns.add_reference."""

    async def get_head(self, session_id: str) -> Head | None:
        """See Backend.get_head."""

    async def put_head(self, head: Head, *, expect: str | None) -> bool:
        """See Backend.put_head."""


async def put_fork_in_steps(backend: Stepping, child: Head, claim: Reference, *, shed: int, expect: Head | None) -> Forked:
    """See SharedRuns.put_fork.

    The claim comes first, then the child: a crash between leaves a claim to sweep, never a child without its records.
    """
    if not await backend.add_reference(claim):
        return "moved"
    # Retention and delete look at claims after they have changed the head: whoever sees the old head here came first.
    above = await backend.get_head(claim.session_id)
    if above is None or above.run != claim.run or above.shed != shed:
        return "moved"
    if expect is not None and (above.revision, above.length) != (expect.revision, expect.length):
        return "moved"
    return "stored" if await backend.put_head(child, expect=None) else "taken"
