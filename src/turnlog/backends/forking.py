"""A fork in steps, for engines that cannot write a claim and a child's head as one."""

from __future__ import annotations

from turnlog.backends.port import Backend, Forked, SharedRuns
from turnlog.heads import Head, Reference


async def put_fork_in_steps(backend: Backend, shared: SharedRuns, child: Head, claim: Reference, *, shed: int) -> Forked:
    """See SharedRuns.put_fork; ``shared`` is the backend under its other protocol.

    The claim comes first, then the child: a crash between leaves a claim to sweep, never a child without its records.
    """
    if not await shared.add_reference(claim):
        return "moved"
    # Retention and delete look at claims after they have changed the head: whoever sees the old head here came first.
    above = await backend.get_head(claim.session_id)
    if above is None or above.run != claim.run or above.shed != shed:
        return "moved"
    return "stored" if await backend.put_head(child, expect=None) else "taken"
