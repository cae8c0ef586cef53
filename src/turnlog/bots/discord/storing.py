"""What came is stored in its order, one chat beside the other; Discord delivers nothing again, so it is tried here until it succeeds."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from turnlog.bots.platform import Receive, Update

LOG = logging.getLogger("turnlog.bots.discord")
LONGEST_PAUSE = 30.0
"""Seconds between two attempts, at most."""

Prepare = Callable[[], Awaitable[Update | None]]
"""Gives the update, with all that had to be fetched for it; None where nothing of it is left."""


class Storing:
    """``put`` returns at once; ``close`` ends."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._chats: dict[int, deque[Prepare]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def put(self, chat: int, prepare: Prepare) -> None:
        """Something came in a chat."""
        if chat in self._chats:
            self._chats[chat].append(prepare)
            return
        self._chats[chat] = deque([prepare])
        task = asyncio.create_task(self._store_all(chat))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Store what can be stored at once. What cannot be is lost, and the log says how much that was."""
        self._closing.set()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    async def _store_all(self, chat: int) -> None:
        waiting = self._chats[chat]
        lost = 0
        while waiting:
            lost += not await self._store(waiting.popleft())
        del self._chats[chat]
        if lost:
            LOG.error("%d updates could not be stored before the end, and are lost", lost)

    async def _store(self, prepare: Prepare) -> bool:
        try:
            update = await prepare()
        except Exception as error:  # noqa: BLE001  # logged; what comes behind it must not wait for ever
            LOG.error("an update could not be read and is left out: %s", type(error).__name__)
            return False
        pause = 1.0
        while update is not None:
            try:
                await self._receive(update)
            except Exception as error:  # noqa: BLE001  # whoever took it has told why
                LOG.warning("update %s was not stored and is tried again: %s", update.id, type(error).__name__)
            else:
                return True
            if self._closing.is_set():
                return False
            await self._wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return True

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return
