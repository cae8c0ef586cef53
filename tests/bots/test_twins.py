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


def test_a_twin_keeps_nothing_of_a_turn_under_way_unless_others_wait_for_it() -> None:
    async def run() -> None:
        for keep, wait, kept in ((True, None, 1), (False, None, 0), (False, 0.1, 1)):
            store = InMemorySessionStore()
            twin = Model().agent().on_session("s", store=store, keep=keep, wait=wait)
            with pytest.raises(ConnectionError):
                await twin.achat("fail")
            assert len(store.get_open_turns("s")) == kept

    asyncio.run(run())


def test_whose_a_session_is_is_noted_again_after_it_was_erased() -> None:
    async def run() -> None:
        store = InMemorySessionStore()
        twin = Model().agent().on_session("s", store=store, user_id="anna")
        for _ in range(2):
            assert await twin.achat("hello") == "1: hello"
            info = store.get_session_info("s")
            assert info is not None and (info.agent_name, info.user_id) == ("Tester", "anna")
            store.delete_session("s")

    asyncio.run(run())
