"""What a platform tells a user that is no answer, beside all else: that a picture did not come, for one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[dict[str, Any], str], Awaitable[str]]

LOG = logging.getLogger("turnlog.bots")


class Asides:
    """Sends by ``send``, without anybody waiting for it; one that cannot be sent is logged."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._under_way: set[asyncio.Task[None]] = set()

    def tell(self, address: dict[str, Any], text: str) -> None:
        """Say ``text`` at ``address`` as soon as the loop comes to it."""
        task = asyncio.create_task(self._tell(address, text))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _tell(self, address: dict[str, Any], text: str) -> None:
        try:
            await self._send(address, text)
        except Exception as error:  # noqa: BLE001  # logged; there is nothing to be answered
            LOG.warning("a user could not be told: %s", error)
