"""Who is answered when: each user's messages in their order, different users at the same time, one worker at a desk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from turnlog.backends.port import Query
from turnlog.bots.answering import Answering, Report
from turnlog.bots.desk import DESK, Desk, Desks
from turnlog.bots.keys import Keys
from turnlog.bots.leases import SETTLED, Lease, LeaseLostError, Leases
from turnlog.errors import ConflictError
from turnlog.session.awaiting import AwaitedStore

LOOK_EVERY = 5.0
"""Seconds between two looks for desks whose worker has died, at most; where leases are short, as long as one of them."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Seconds between two attempts on a desk where the store fails, at first and at most."""


class Workers:
    """Works on the desks of one bot in one process. Over a full store any number of processes may; with five methods one."""

    def __init__(self, store: AwaitedStore, keys: Keys, desks: Desks, answering: Answering, leases: Leases, report: Report) -> None:
        self._store = store
        self._keys = keys
        self._desks = desks
        self._answering = answering
        self._leases = leases
        self._report = report
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._stopping = False
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for what was left, now and from time to time; with five methods, where nobody else can leave anything, now."""
        self._looking = asyncio.create_task(self._look() if self._store.full else self._look_in_all())

    def wake(self, key: str) -> None:
        """There is, or may be, something to do at a desk."""
        if self._stopping:
            return
        if key in self._tasks:
            self._again.add(key)
        else:
            self._tasks[key] = asyncio.create_task(self._work(key))

    async def idle(self) -> None:
        """Wait until nothing is left to do that this process knows of."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def stop(self, seconds: float) -> None:
        """Begin nothing new, and wait ``seconds`` for the turns in flight; then they are cancelled, and done again at the next start."""
        self._stopping = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _work(self, key: str) -> None:
        pause = FIRST_PAUSE
        try:
            while True:
                self._again.discard(key)
                try:
                    await self._clear(self._desks.of(key))
                    pause = FIRST_PAUSE
                except LeaseLostError:
                    # Whoever has it now goes on; should nobody, a look around finds it.
                    pause = FIRST_PAUSE
                except Exception as error:  # noqa: BLE001  # reported; the desk is tried again until it succeeds
                    self._report(error, None)
                    await self._wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    self._again.add(key)
                if self._stopping or key not in self._again:
                    return
        finally:
            del self._tasks[key]
            self._again.discard(key)

    async def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:  # noqa: ASYNC110  # many wait, each for itself
            await asyncio.sleep(min(left, 0.2))

    async def _clear(self, desk: Desk) -> None:
        """Answer all that waits at a desk."""
        if not self._store.full:
            await self._answer_all(desk, lambda: None)
            return
        while not self._stopping:
            lease = await self._leases.take(desk.id, self._keys.platform)
            if lease is None:
                return
            settled: int | None = None
            try:
                settled = await self._answer_all(desk, lease.check)
            finally:
                await self._release(lease, settled)
            # An update that came before the release found the desk taken.
            info = await self._store.call("get_session_info", desk.id)
            if info is None or info.message_count == settled:
                return

    async def _answer_all(self, desk: Desk, check: Callable[[], None]) -> int | None:
        """Answer what waits, and give the desk's number of messages then; None where something still waits, or that cannot be told."""
        while True:
            state = await desk.read()
            mine = [each for each in state.waiting.values() if each.platform == self._keys.platform]
            for waiting in mine:
                if self._stopping:
                    return None
                check()
                await self._answering.answer(desk, state, waiting, check)
            if not self._store.full:
                if not mine:
                    return None
                continue
            info = await self._store.call("get_session_info", desk.id)
            if info is None:
                return None
            if mine and info.user_id is None and (user := self._keys.owner(mine[0].update).user) is not None:
                # What is erased by user goes with the user's conversations.
                await self._store.finish("set_agent_info", desk.id, None, user)
            if info.message_count == state.count == 0:
                # An erased desk, that looking at it brought back.
                with suppress(ConflictError):
                    await self._store.finish("delete_session", desk.id, expect_revision=info.revision)
                return None
            if info.message_count == state.count:
                # Nothing came while that was read and answered.
                return None if state.waiting else await desk.settle(state, info.revision, info.message_count)

    async def _release(self, lease: Lease, settled: int | None) -> None:
        try:
            await lease.release(settled)
        except Exception as error:  # noqa: BLE001  # reported; it runs out by itself
            self._report(error, None)

    async def _look_in_all(self) -> None:
        try:
            for key in await self._desks.known():
                self.wake(key)
        except Exception as error:  # noqa: BLE001  # reported; a user's next message brings up what was left of that user
            self._report(error, None)

    async def _look(self) -> None:
        every = min(LOOK_EVERY, self._leases.seconds)
        since: float | None = None
        while True:
            began = time.time()
            try:
                await self._look_once(since)
                # What a worker that died had, it had changed or renewed within the time of a lease; clocks may differ a little.
                since = began - 2 * self._leases.seconds - every
            except Exception as error:  # noqa: BLE001  # reported; the next look goes as far back as this one was to
                self._report(error, None)
            await asyncio.sleep(every)

    async def _look_once(self, since: float | None) -> None:
        for prefix in self._keys.prefixes:
            cursor: str | None = None
            while True:
                page, cursor = await self._store.call("page_sessions", Query(prefix=prefix, since=since), 200, cursor)
                for info in page:
                    quiet = info.metadata.get(SETTLED) == info.message_count
                    if info.session_id.endswith(DESK) and not quiet and self._leases.is_free(info.metadata, self._keys.platform):
                        self.wake(info.session_id.removesuffix(DESK))
                if cursor is None:
                    break
