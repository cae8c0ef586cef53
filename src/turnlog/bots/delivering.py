"""The way of one answer to its user: typing, a draft that grows, the pieces in the end, and all that a platform may refuse meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from turnlog.bots.platform import DeliveryError, Platform, SendsFiles
from turnlog.bots.splitting import open_fence, split

T = TypeVar("T")

TYPING_AFTER = 0.3
"""Seconds of silence before a user is shown that an answer is being written."""
TYPING_EVERY = 4.0
FIRST_DRAFT = 1.0
"""Seconds of an answer's text before it is shown unfinished: a quick answer is one message and no edit."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between two attempts to send, at first and at most, unless the platform asks for more."""
FAULTS = 3
"""Times that a platform may fail in a way that is no DeliveryError before a message is given up."""

Note = Callable[[list[str]], Awaitable[None]]
OnError = Callable[[Exception], None]


class UndeliverableError(Exception):
    """The platform does not take the message, now or ever. ``__cause__`` is what it said."""


@dataclass(slots=True)
class Delivery:
    """One answer. ``ids`` are the messages that the platform has of it from before a restart; ``note`` is told of each further one."""

    platform: Callable[[], Platform]
    address: dict[str, Any]
    note: Note
    on_error: OnError
    check: Callable[[], None]
    """Raises where this worker is not to send any more."""
    ids: list[str] = field(default_factory=list)
    _shown: dict[int, str] = field(default_factory=dict)
    _text: str = ""
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _failed: bool = False
    _not_before: float = 0.0
    """When the platform bears the next step after one of the draft's, by the monotonic clock."""

    @asynccontextmanager
    async def under_way(self, *, draft: bool) -> AsyncIterator[None]:
        """Show that an answer is being written, and with ``draft`` what ``grow`` was given of it, until the scope is left."""
        every = self.platform().edit_every if draft else None
        self._over.clear()
        typing = asyncio.create_task(self._type())
        drafting = asyncio.create_task(self._draft(every)) if every is not None else None
        try:
            yield
        finally:
            typing.cancel()
            self._over.set()
            if drafting is not None:
                # It is let go on to the end of what it sends: else nobody would know whether that arrived.
                await drafting

    def grow(self, piece: str) -> None:
        """The answer has grown by ``piece``."""
        self._text += piece

    @property
    def text(self) -> str:
        """What ``grow`` was given so far."""
        return self._text

    async def finish(self, text: str) -> None:
        """Bring the whole answer to the user, in as many messages as it takes. Raises UndeliverableError, and what ``check`` raises."""
        pieces = split(text, self.platform().longest)
        for place, piece in enumerate(pieces):
            self.check()
            if place >= len(self.ids):
                await self._send(piece, last=place == len(pieces) - 1)
            elif self._shown.get(place) != piece and self.platform().edit_every is not None:
                await self._replace(place, piece, last=place == len(pieces) - 1)

    async def finish_file(self, name: str, data: bytes) -> None:
        """Bring a file to the user. Raises UndeliverableError."""
        self.check()

        async def send() -> str:
            platform = self.platform()
            assert isinstance(platform, SendsFiles)
            return await platform.send_file(self.address, name, data)

        await self._persist(send)

    async def _send(self, piece: str, *, last: bool) -> None:
        message_id = await self._persist(lambda: self.platform().send(self.address, piece))
        self.ids.append(message_id)
        self._shown[len(self.ids) - 1] = piece
        if not last:
            # The last one is noted together with the delivery.
            await self.note(self.ids)

    async def _replace(self, place: int, piece: str, *, last: bool) -> None:
        try:
            await self._persist(lambda: self.platform().edit(self.address, self.ids[place], piece))
        except UndeliverableError:
            # What was to be edited is gone: the answer is not to go with it.
            self.ids[place] = await self._persist(lambda: self.platform().send(self.address, piece))
            if not last:
                await self.note(self.ids)
        self._shown[place] = piece

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What ``attempt`` gives, in the end: it is made again as the platform says, as long as this worker is to send."""
        pause, faults = FIRST_PAUSE, 0
        await asyncio.sleep(self._not_before - time.monotonic())
        while True:
            self.check()
            try:
                return await attempt()
            except DeliveryError as error:
                if error.permanent:
                    raise UndeliverableError from error
                wait = pause if error.retry_after is None else error.retry_after
                self._tell(error)
            except Exception as error:
                # A fault of the platform's code.
                faults += 1
                if faults >= FAULTS:
                    raise UndeliverableError from error
                wait = pause
                self._tell(error)
            await asyncio.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _tell(self, error: Exception) -> None:
        """Tell of the first failure of an answer; what follows is the same one going on."""
        if not self._failed:
            self._failed = True
            self.on_error(error)

    async def _type(self) -> None:
        await asyncio.sleep(TYPING_AFTER)
        while True:
            try:
                await self.platform().typing(self.address)
            except DeliveryError:
                # An ornament: whether the answer itself arrives is told by its own sending.
                return
            except Exception as error:  # noqa: BLE001  # a fault of the platform's code
                self._tell(error)
                return
            await asyncio.sleep(TYPING_EVERY)

    async def _draft(self, every: float) -> None:
        """Show the beginning of the answer as it grows: one message, until it is full."""
        wait = min(every, FIRST_DRAFT)
        while not self._over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), wait)
            wait = every
            draft = self._beginning()
            if self._over.is_set() or not draft or draft == self._shown.get(0):
                continue
            try:
                self.check()
                if not self.ids:
                    self.ids.append(await self.platform().send(self.address, draft))
                    await self.note(self.ids)
                else:
                    await self.platform().edit(self.address, self.ids[0], draft)
            except DeliveryError as error:
                if error.permanent:
                    return
                wait = max(every, error.retry_after or 0.0)
            except Exception as error:  # noqa: BLE001  # the answer itself is still to be sent, and tells what is wrong
                self._tell(error)
                return
            else:
                self._shown[0] = draft
            self._not_before = time.monotonic() + wait

    def _beginning(self) -> str:
        pieces = split(self._text, self.platform().longest)
        if not pieces:
            return ""
        fence = open_fence(pieces[0])
        closed = f"{pieces[0].rstrip()}\n{fence[0]}" if fence is not None else pieces[0]
        return closed if len(closed) <= self.platform().longest else pieces[0]
