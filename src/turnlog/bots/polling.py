"""Which worker receives: every one, or, where a platform is polled, the one that has the poller's lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from turnlog.bots.commands import COMMANDS
from turnlog.bots.keys import POLLER
from turnlog.bots.leases import Lease, Leases
from turnlog.bots.platform import Platform, Receive, TellsOutages
from turnlog.session.awaiting import AwaitedStore


class Receiving:
    """Opens and closes the platform. ``renew`` gives another object of the platform, for one that had to stop polling."""

    def __init__(
        self,
        store: AwaitedStore,
        bot: str,
        leases: Leases,
        platform: Platform,
        renew: Callable[[], Platform] | None,
        on_error: Callable[[Exception], None],
    ) -> None:
        self.platform = platform
        self._store = store
        self._session_id = f"{bot}{POLLER}"
        self._leases = leases
        self._renew = renew
        self._on_error = on_error
        self._lease: Lease | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, receive: Receive) -> None:
        """Begin to receive, or to wait for the lease. Raises what the platform's ``open`` raises where it is opened at once."""
        if not (self._store.full and getattr(self.platform, "polls", False)):
            await self._begin(receive)
            return
        await self._store.finish("create_session", self._session_id)
        self._lease = await self._leases.take(self._session_id, self._session_id)
        if self._lease is not None:
            await self._begin(receive)
        self._task = asyncio.create_task(self._watch(receive))

    async def close(self) -> None:
        """Stop receiving, and give the lease up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            await self.platform.close()
        finally:
            if self._lease is not None:
                await self._lease.release()
                self._lease = None

    async def _begin(self, receive: Receive) -> None:
        if isinstance(self.platform, TellsOutages):
            self.platform.on_outage = self._on_error
        await self.platform.open(receive, COMMANDS)

    async def _watch(self, receive: Receive) -> None:
        """Poll while the lease is held; take it when it comes free."""
        failing = False
        while True:
            await asyncio.sleep(self._leases.seconds / 6)
            try:
                if self._lease is None:
                    self._lease = await self._leases.take(self._session_id, self._session_id)
                    if self._lease is not None:
                        await self._begin(receive)
                elif not self._lease.held:
                    await self._stop_polling()
                failing = False
            except Exception as error:  # noqa: BLE001  # reported where it begins, and tried again
                if not failing:
                    self._on_error(error)
                failing = True
                if self._lease is not None:
                    await self._stop_polling()

    async def _stop_polling(self) -> None:
        lease, self._lease = self._lease, None
        old = self.platform
        if self._renew is not None:
            # The answers in flight go out by the new one.
            self.platform = self._renew()
        for end in (old.close, *([lease.release] if lease is not None else [])):
            try:
                await end()
            except Exception as error:  # noqa: BLE001  # reported: whatever it is, the next attempt must come
                self._on_error(error)
