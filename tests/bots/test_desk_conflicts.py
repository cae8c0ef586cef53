"""An update that is not stored is never taken for one that was stored before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from turnlog.bots.desk import Desk
from turnlog.bots.platform import Update
from turnlog.errors import ConflictError
from turnlog.session import InMemorySessionStore
from turnlog.session.awaiting import AwaitedStore


class Beaten(InMemorySessionStore):
    """A store on which others are always faster."""

    def add_messages(self, session_id: str, messages: Any, **options: Any) -> bool:
        raise ConflictError("it changes too fast", session_id=session_id)


def test_an_update_that_lost_to_others_is_not_acknowledged() -> None:
    async def receive() -> None:
        await Desk(AwaitedStore(Beaten()), "bot_x_1").receive("x", Update(id="1", user_id="1", chat_id="1", address={}, text="Hello"), 1.0)

    with pytest.raises(ConflictError):
        asyncio.run(receive())


def test_an_update_that_comes_again_is_known() -> None:
    async def receive() -> list[bool]:
        desk = Desk(AwaitedStore(InMemorySessionStore()), "bot_x_1")
        update = Update(id="1", user_id="1", chat_id="1", address={}, text="Hello")
        return [await desk.receive("x", update, at) for at in (1.0, 2.0)]

    assert asyncio.run(receive()) == [True, False]
