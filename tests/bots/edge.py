"""A chat platform in memory: the network's edge of the tests. It shows what a user would see, and refuses what it is told to refuse."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

from turnlog.bots import Command, Platform, Receive, Update


class Edge:
    """``screen(chat)`` is what a user sees; ``refusals`` are raised by the next calls of ``send`` and ``edit``, one each."""

    def __init__(self, name: str = "edge", *, longest: int = 4096, edit_every: float | None = None) -> None:
        self.name = name
        self.longest = longest
        self.edit_every = edit_every
        self.log: list[tuple[str, str, str]] = []
        """All that was done: "send", "edit" or "typing", the chat, the text."""
        self.refusals: list[Exception] = []
        self.opened = 0
        self.closed = 0
        self.commands: Sequence[Command] = ()
        self._shown: dict[str, dict[str, str]] = {}
        self._receive: Receive | None = None
        self._numbers = itertools.count(1)

    async def open(self, receive: Receive, commands: Sequence[Command]) -> None:
        self.opened += 1
        self._receive, self.commands = receive, commands

    async def close(self) -> None:
        self.closed += 1

    async def send(self, address: dict[str, Any], text: str) -> str:
        self._act("send", address, text)
        message_id = str(next(self._numbers))
        self._shown.setdefault(address["chat"], {})[message_id] = text
        return message_id

    async def edit(self, address: dict[str, Any], message_id: str, text: str) -> None:
        self._act("edit", address, text)
        self._shown[address["chat"]][message_id] = text

    async def typing(self, address: dict[str, Any]) -> None:
        self.log.append(("typing", address["chat"], ""))

    def _act(self, what: str, address: dict[str, Any], text: str) -> None:
        assert 0 < len(text) <= self.longest
        if self.refusals:
            raise self.refusals.pop(0)
        self.log.append((what, address["chat"], text))

    def screen(self, chat: str = "alice") -> list[str]:
        """What the bot said in a chat, as it stands now."""
        return list(self._shown.get(chat, {}).values())

    def sent(self, chat: str = "alice") -> list[str]:
        """What was sent in a chat, edits aside."""
        return [text for what, where, text in self.log if what == "send" and where == chat]

    async def deliver(
        self, text: str = "", user: str = "alice", *, number: str | None = None, chat: str | None = None, **fields: Any
    ) -> None:
        """A user's message arrives."""
        assert self._receive is not None, "the platform was not opened"
        chat = chat or user
        number = number or f"{chat}-{next(self._numbers)}"
        await self._receive(Update(id=number, user_id=user, chat_id=chat, text=text, address={"chat": chat}, **fields))


async def eventually(done: Any, seconds: float = 20.0) -> None:
    """Wait until ``done()``."""
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110  # it looks at what a user would see
            await asyncio.sleep(0.01)


_: type[Platform] = Edge
