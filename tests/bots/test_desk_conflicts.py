"""An update that is not stored is never taken for one that was stored before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.bots.chatting import chatting
from tests.bots.edge import Edge
from tests.verify.document_store import AsyncDocumentStore
from turnlog.bots.desk import Desk, Desks
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


class BeatenAfterwards(InMemorySessionStore):
    """Others are faster whenever it is to be noted that an answer was delivered, the first two times."""

    beaten = 0

    def add_messages(self, session_id: str, messages: Any, **options: Any) -> bool:
        if '"delivered"' in str(messages) and self.beaten < 2:
            self.beaten += 1
            raise ConflictError("it changes too fast", session_id=session_id)
        return super().add_messages(session_id, messages, **options)


def test_an_answer_that_arrived_stays_when_it_is_hard_to_note() -> None:
    async def run() -> list[str]:
        store, edge = BeatenAfterwards(), Edge(edit_every=0.1)
        async with chatting(edge, store) as chat:
            await edge.deliver("hello")
            await chat.bot.idle()
            assert store.beaten == 2
            return [text for what, _, text in edge.log if what != "typing"]

    assert asyncio.run(run()) == ["1: hello"]


class SlowToRead(AsyncDocumentStore):
    """What is read first arrives late."""

    def __init__(self) -> None:
        super().__init__()
        self.arrives = asyncio.Event()
        self.reads = 0

    async def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        found = await super().get_chat_history(session_id, max_messages)
        self.reads += 1
        if self.reads == 1:
            await self.arrives.wait()
        return found


def test_a_look_around_as_a_bot_starts_forgets_no_desk_that_comes_meanwhile() -> None:
    async def run() -> set[str]:
        store = SlowToRead()
        desks = Desks(AwaitedStore(store), "bot_x")
        look = asyncio.create_task(desks.known())
        await asyncio.sleep(0)
        await desks.remember("bot_x_1")
        store.arrives.set()
        await look
        return await desks.known()

    assert asyncio.run(run()) == {"bot_x_1"}
