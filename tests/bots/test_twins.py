"""What bots ask of an agent: twins of it on other sessions, and turns whose ids are given."""

from __future__ import annotations

import asyncio

import pytest

from tests.bots.models import Model
from turnlog.errors import ConflictError
from turnlog.session import InMemorySessionStore


def test_twins_share_all_but_the_session() -> None:
    async def run() -> None:
        store = InMemorySessionStore()
        agent = Model().agent(memory={"history_limit": 3})
        one, two = agent.on_session("one", store=store, user_id="anna"), agent.on_session("two", store=store)
        assert await one.achat("hello") == "1: hello"
        assert await two.achat("hi") == "1: hi"
        assert await one.achat("again") == "2: again"
        assert one._ready()._loop is two._ready()._loop
        assert one.memory.history_limit == 3
        infos = {info.session_id: info for info in store.iter_sessions()}
        assert (infos["one"].user_id, infos["two"].user_id, infos["one"].agent_name) == ("anna", None, "Tester")
        assert one.last_turn is not None and one.last_turn.output == "2: again"
        assert agent.last_turn is None

    asyncio.run(run())


@pytest.mark.parametrize("stream", [False, True])
def test_of_two_turns_of_one_id_the_first_is_kept(stream: bool) -> None:
    async def run() -> None:
        store = InMemorySessionStore()
        agent = Model().agent().on_session("s", store=store)

        async def ask(text: str) -> None:
            if stream:
                async for _ in agent.astream(text, turn_id="t"):
                    pass
            else:
                await agent.achat(text, turn_id="t")

        await ask("hello")
        with pytest.raises(ConflictError):
            await ask("another")
        assert [(message.id, message.content) for message in store.get_messages("s")] == [("t-0", "hello"), ("t-1", "1: hello")]

    asyncio.run(run())


def test_an_agent_tells_which_store_it_was_given() -> None:
    store = InMemorySessionStore()
    assert Model().agent(session_store=store).session_store is store
    assert Model().agent(memory={"store": store}).session_store is store
    assert Model().agent().session_store is None
