"""Long polling: updates are asked for, stored, and only then confirmed, by the offset of the next question."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import telegram
from telegram import Bot

from turnlog.bots.platform import DeliveryError
from turnlog.bots.telegram.calls import asked

LOG = logging.getLogger("turnlog.bots.telegram")
WAIT = 30
"""Seconds that Telegram may wait for something to happen before it answers."""
LONGEST_PAUSE = 30.0
"""Seconds between two questions where Telegram fails, at most, unless it asks for more."""

Take = Callable[[telegram.Update], Awaitable[None]]
"""Returns when an update is stored. What it raises means: ask for it again."""


class Poller:
    """Asks until it is cancelled. python-telegram-bot's own Updater confirms what it has put into a queue; this, what is stored."""

    def __init__(self, bot: Bot, take: Take, kinds: Sequence[str], on_outage: Callable[[Exception], None]) -> None:
        self._bot = bot
        self._take = take
        self._kinds = list(kinds)
        self._on_outage = on_outage
        self._offset: int | None = None

    async def run(self) -> None:
        """Poll until cancelled; failures are waited out, and the first of several is told."""
        pause = 1.0
        failing = False
        while True:
            try:
                updates = await asked(self._bot.get_updates(offset=self._offset, timeout=WAIT, allowed_updates=self._kinds))
                stored = await self._store(updates)
            except Exception as error:  # noqa: BLE001  # told; a bot that stopped asking would be deaf
                if not failing:
                    self._on_outage(error)
                failing = True
                asked_for = error.retry_after if isinstance(error, DeliveryError) else None
                await asyncio.sleep(pause if asked_for is None else asked_for)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                failing = False
                if stored:
                    pause = 1.0
                else:
                    # Whoever takes them has told why.
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)

    async def _store(self, updates: Sequence[telegram.Update]) -> bool:
        """Have updates stored, those of one chat in their order; move the offset past those before the first that was not."""
        chats: dict[int | None, list[telegram.Update]] = {}
        for update in updates:
            chats.setdefault(update.effective_chat.id if update.effective_chat else None, []).append(update)
        failed = [first for first in await asyncio.gather(*map(self._store_chat, chats.values())) if first is not None]
        if failed:
            self._offset = min(failed)
        elif updates:
            self._offset = updates[-1].update_id + 1
        return not failed

    async def _store_chat(self, updates: Sequence[telegram.Update]) -> int | None:
        """Have one chat's updates stored; gives the id of the first that was not."""
        for update in updates:
            try:
                await self._take(update)
            except Exception as error:  # noqa: BLE001  # it is not confirmed, and comes again
                LOG.warning("update %s was not stored and is asked for again: %s", update.update_id, type(error).__name__)
                return update.update_id
        return None
