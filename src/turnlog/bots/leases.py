"""Leases: which worker is at work on a desk, or polls. Kept in the metadata of a session, changed by compare-and-set."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any

from turnlog.errors import SessionError
from turnlog.heads import Head
from turnlog.messages import new_token
from turnlog.session.awaiting import AwaitedStore
from turnlog.store.core import with_fields
from turnlog.turns.owner import Owner, has_ended

LEASES = "leases"
"""The key of the metadata under which leases are, by name."""
SETTLED = "settled"
"""The key under which a desk tells its number of messages when nothing waited in it."""
MARGIN = 0.1
"""Share of a lease's time before its end from which its holder no longer counts on it."""

Metadata = dict[str, Any]


class LeaseLostError(SessionError):
    """The lease has run out: another worker may be at work by now, and has to finish."""


class Lease:
    """A lease that this worker holds. It is renewed until it is released."""

    def __init__(self, leases: Leases, session_id: str, name: str, until: float) -> None:
        self.session_id = session_id
        self.name = name
        self._leases = leases
        self._until = until
        self._released = False
        self._renewing = asyncio.create_task(self._renew())

    @property
    def held(self) -> bool:
        """Whether nobody else can have it."""
        return time.time() < self._until - MARGIN * self._leases.seconds

    def check(self) -> None:
        """Raise LeaseLostError unless it is held."""
        if not self.held:
            raise LeaseLostError(f"the lease on {self.session_id!r} has run out: whoever has it now goes on", session_id=self.session_id)

    async def release(self) -> None:
        """Give it up, if it has not been. Raises StorageError: then it runs out by itself."""
        if not self._released:
            self._released = True
            self._renewing.cancel()
            with suppress(LeaseLostError):
                await self._leases.give_up(self.session_id, self.name)

    async def release_at(self, count: int, *, quiet: bool, user: str | None) -> bool:
        """Give it up if the session has ``count`` messages now; else it stays held, and the answer is False.

        ``quiet``: nothing waits in the session; ``user``: whose it is, if that has not been noted. Raises LeaseLostError, StorageError.
        """
        self._released = await self._leases.give_up_at(self.session_id, self.name, count, quiet, user)
        if self._released:
            self._renewing.cancel()
        return self._released

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._leases.seconds / 3)
            try:
                self._until = await self._leases.renew(self.session_id, self.name)
            except LeaseLostError:
                return
            except Exception as error:  # noqa: BLE001  # reported, and tried again; should that go on, the lease runs out
                self._leases.on_error(error)


class Leases:
    """Takes leases of ``seconds`` for one worker. Of two workers on two machines the clocks must agree within a tenth of that."""

    def __init__(self, store: AwaitedStore, seconds: float, on_error: Callable[[Exception], None]) -> None:
        if not seconds > 0:
            raise ValueError(f"lease must be more than 0 seconds, not {seconds!r:.80}")
        self.seconds = seconds
        self.on_error = on_error
        self._store = store

    @cached_property
    def _me(self) -> Metadata:
        """Who this worker is; found out when it begins, as a process may be forked between a bot's making and its start."""
        return {"worker": new_token(), "system": _system(), **Owner.here().to_dict()}

    async def take(self, session_id: str, name: str) -> Lease | None:
        """The lease, taken from nobody, or from a worker whose time has run out or whose process has ended; None where another has it.

        The session comes to be if it was not there. Raises StorageError.
        """
        until = time.time() + self.seconds
        mine = {**self._me, "until": until}

        def edit(head: Head) -> Head:
            metadata = _metadata(head)
            held = metadata.get(LEASES) or {}
            if self._is_anothers(held.get(name)):
                return head
            kept = {key: value for key, value in metadata.items() if key != SETTLED}
            return with_fields(head, metadata={**kept, LEASES: {**held, name: mine}})

        after = _metadata(await self._store.change(session_id, edit))
        taken = after[LEASES][name]["worker"] == self._me["worker"]
        return Lease(self, session_id, name, until) if taken else None

    async def renew(self, session_id: str, name: str) -> float:
        """Write that this worker goes on having it, and give until when. Raises LeaseLostError, StorageError."""
        until = time.time() + self.seconds
        mine = {**self._me, "until": until}
        await self._store.change(session_id, lambda head: self._changed(head, name, mine))
        return until

    async def give_up(self, session_id: str, name: str) -> None:
        """Write that this worker does not have it any longer. Raises LeaseLostError where it had not, StorageError."""
        await self._store.change(session_id, lambda head: self._changed(head, name, None))

    async def give_up_at(self, session_id: str, name: str, count: int, quiet: bool, user: str | None) -> bool:
        """``give_up`` for a session that has ``count`` messages, as one; False where it has another number of them."""

        def edit(head: Head) -> Head:
            after = self._changed(head, name, None, count if quiet else None)
            if head.count != count:
                # What came is this worker's to look at: whoever put it there found the lease taken.
                return head
            return with_fields(after, user_id=after.fields.get("user_id") or user)

        return name not in (_metadata(await self._store.change(session_id, edit)).get(LEASES) or {})

    def _changed(self, head: Head, name: str, lease: Metadata | None, settled: int | None = None) -> Head:
        metadata = _metadata(head)
        held = metadata.get(LEASES) or {}
        if (held.get(name) or {}).get("worker") != self._me["worker"]:
            # Taken by another, or erased with all else, and then not to come to be again.
            raise LeaseLostError(f"the lease on {head.session_id!r} is gone", session_id=head.session_id)
        left = {key: value for key, value in {**held, name: lease}.items() if value is not None}
        kept = {key: value for key, value in metadata.items() if key not in (LEASES, SETTLED)}
        quiet = {SETTLED: settled} if settled is not None and not left else {}
        return with_fields(head, metadata={**kept, **quiet, **({LEASES: left} if left else {})})

    def is_free(self, metadata: Metadata, name: str) -> bool:
        """Whether the lease could be taken."""
        return not self._is_anothers((metadata.get(LEASES) or {}).get(name))

    def _is_anothers(self, lease: Metadata | None) -> bool:
        if lease is None or lease["worker"] == self._me["worker"]:
            return False
        # The number of a process says something where the same kernel counts the same processes; two containers may have one name.
        seen_from_here = lease.get("system") == self._me["system"] is not None
        return bool(lease["until"] > time.time()) and not (seen_from_here and has_ended(lease))


def _system() -> str | None:
    """Where this process has its number: which boot of a kernel, and which of its namespaces. None where that cannot be told."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _metadata(head: Head) -> Metadata:
    return head.fields.get("metadata") or {}
