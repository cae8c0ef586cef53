"""Who is answered when: each user's messages in their order, different users at the same time, one worker at a desk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from turnlog.backends.port import Query
from turnlog.bots.answering import Answering, Report
from turnlog.bots.desk import Desk, Desks
from turnlog.bots.events import State, Waiting
from turnlog.bots.keys import DESK, Keys
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
            while await self._answer_all(desk, await desk.read(), lambda: None):
                continue
            return
        lease = await self._leases.take(desk.id, self._keys.platform)
        if lease is None:
            # Whoever has it looks at what is there before giving it up.
            return
        try:
            while not self._stopping and not await self._answer_all_under(lease, desk):
                continue
        finally:
            try:
                await lease.release()
            except Exception as error:  # noqa: BLE001  # reported; it runs out by itself
                self._report(error, None)

    async def _answer_all(self, desk: Desk, state: State, check: Callable[[], None]) -> list[Waiting]:
        """Answer what waits in ``state``, and give it; the rest is left where the bot is being stopped."""
        mine = [each for each in state.waiting.values() if each.platform == self._keys.platform]
        for waiting in mine:
            if self._stopping:
                return []
            check()
            await self._answering.answer(desk, state, waiting, check)
            if state.erased:
                break
        return mine

    async def _answer_all_under(self, lease: Lease, desk: Desk) -> bool:
        """Answer what waits at a desk of which the lease is held. True: all is done, and the lease given up, or lost with the desk."""
        state = await desk.read()
        mine = await self._answer_all(desk, state, lease.check)
        if self._stopping:
            return False
        if state.erased:
            # The lease may have gone with the desk: what came since needs another one.
            if await self._store.call("session_exists", desk.id):
                self._again.add(desk.key)
            return True
        if state.count == 0:
            await self._erase_empty(desk)
            return False
        await desk.settle(state)
        user = self._keys.owner(mine[0].update).user if mine else None
        return await lease.release_at(state.count, quiet=not state.waiting, user=user)

    async def _erase_empty(self, desk: Desk) -> None:
        """Erase a desk that was erased, and brought back by looking at it, unless something came. Raises LeaseLostError: it is gone."""
        info = await self._store.call("get_session_info", desk.id)
        if info is not None and info.message_count == 0:
            with suppress(ConflictError):
                await self._store.finish("delete_session", desk.id, expect_revision=info.revision)
                info = None
        if info is None:
            raise LeaseLostError(f"the lease on {desk.id!r} is gone with it", session_id=desk.id)

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
