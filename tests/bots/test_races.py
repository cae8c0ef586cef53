"""What comes between two steps of a bot: late turns, erased desks, others' updates, platforms and stores that fail together."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.bots.conftest import RunBot
from tests.bots.edge import Edge, eventually
from tests.bots.models import Model
from tests.bots.stores import QUICK, Open
from turnlog.bots import Bot, Update
from turnlog.bots.answering import Answering
from turnlog.bots.desk import Desk
from turnlog.bots.events import update_event
from turnlog.bots.leases import LeaseLostError
from turnlog.errors import StorageError
from turnlog.heads import Head
from turnlog.session import InMemorySessionStore

PERSON = {("edge", "alice"): "anna", ("other", "7"): "anna"}


def held_up() -> None:
    """The process is held up: it renews no lease, and goes on later."""
    for lease in [task for task in asyncio.all_tasks() if "Lease._renew" in str(task.get_coro())]:
        lease.cancel()


def test_what_waits_for_another_platforms_worker_is_not_looked_at_again_and_again(run_bot: RunBot) -> None:
    async def run() -> None:
        store = InMemorySessionStore()
        slow = Model()
        slow.gate = asyncio.Event()
        async with AsyncExitStack() as scope:
            one = await scope.enter_async_context(run_bot(store, edge=Edge("other"), model=slow, link=PERSON))
            two = await scope.enter_async_context(run_bot(store, link=PERSON))
            await one.edge.deliver("this takes long", "7")
            await eventually(lambda: slow.asked)
            assert await two.say("hello") == "1: hello"
            looked: list[str] = []
            plain = two.bot.store.finish

            async def counted(verb: str, *arguments: Any, **named: Any) -> Any:
                looked.append(verb)
                return await plain(verb, *arguments, **named)

            two.bot.store.finish = counted  # type: ignore[method-assign]
            await asyncio.sleep(0.3)
            assert looked == []
            slow.gate.set()
            await one.bot.idle()
            assert one.edge.screen("7") == ["1: this takes long"]

    asyncio.run(run())


@pytest.mark.parametrize("command", ["/forget yes", "/undo"])
def test_a_turn_that_is_late_is_not_stored_where_it_was_taken_back(command: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        store = opened("sqlite")()
        slow = Model()
        slow.gate = asyncio.Event()
        async with AsyncExitStack() as scope:
            one = await scope.enter_async_context(run_bot(store, model=slow, lease=0.3))
            slow.gate.set()
            await one.say("before")
            slow.gate.clear()
            await one.edge.deliver("my secret")
            await eventually(lambda: len(slow.asked) == 2)
            held_up()
            two = await scope.enter_async_context(run_bot(opened("sqlite")(), lease=0.3))
            await eventually(two.edge.screen)
            await two.say(command)
            slow.gate.set()
            await one.bot.idle()
            assert "secret" not in str([message.content for message in store.get_messages("bot_edge_alice")])
            assert one.edge.screen() == ["1: before"]
            assert {type(error) for error, _ in one.errors} <= {LeaseLostError}
            one.errors.clear()

    asyncio.run(run())


def test_what_comes_right_after_a_forget_is_answered_once(run_bot: RunBot, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        store = InMemorySessionStore()
        model = Model(0.05)
        async with run_bot(store, model=model) as one, run_bot(store, model=model) as two:
            plain = Desk.erase
            late = ["again"]

            async def erase(desk: Desk, *arguments: Any) -> Any:
                outcome = await plain(desk, *arguments)
                if late:
                    # The desk is gone and its lease with it: another worker takes it.
                    await two.edge.deliver(late.pop(), number="late")
                    await asyncio.sleep(0.02)
                return outcome

            monkeypatch.setattr(Desk, "erase", erase)
            await one.say("hello")
            await one.edge.deliver("/forget yes")
            await one.bot.idle()
            await two.bot.idle()
            assert model.asked == ["hello", "again"]
            assert one.edge.screen()[2:] + two.edge.screen() == ["1: again"]

    asyncio.run(run())


@pytest.mark.parametrize("kind", QUICK)
def test_what_waits_behind_a_forget_begins_anew(kind: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with run_bot(opened(kind)()) as running:
            await running.say("hello")
            await running.say("/new")
            for text in ("one", "/forget yes", "two"):
                await running.edge.deliver(text)
            await running.bot.idle()
            # Nothing of the erased desk is known to what comes: the conversation is the first again.
            assert await running.say("/status") == "Conversation first: 2 messages."
            assert running.edge.screen()[-2] == "1: two"

    asyncio.run(run())


def test_an_update_that_comes_while_its_desk_is_taken_from_the_list_is_found_after_a_restart(
    run_bot: RunBot, opened: Callable[[str], Open], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened("five methods")()
    edge = Edge()
    plain = Desk.receive

    async def run() -> None:
        async with run_bot(store, edge=edge) as running:
            await running.say("hello")

            async def receive(desk: Desk, *arguments: Any) -> Any:
                # Its key is on the list, and comes off it before the update is stored.
                await running.bot._desks.forget(desk.key)
                return await plain(desk, *arguments)

            monkeypatch.setattr(Desk, "receive", receive)
            monkeypatch.setattr(running.bot._workers, "wake", lambda key: None)
            await running.edge.deliver("again")
            monkeypatch.undo()

    async def restarted() -> None:
        async with run_bot(store, edge=edge) as running:
            await eventually(lambda: len(running.edge.screen()) == 2)

    asyncio.run(run())
    assert edge.screen() == ["1: hello"]
    asyncio.run(restarted())
    assert edge.screen()[-1] == "2: again"


@pytest.mark.parametrize("kind", QUICK)
def test_an_answer_of_another_update_is_not_taken_for_its_own(
    kind: str, run_bot: RunBot, opened: Callable[[str], Open], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with run_bot(opened(kind)()) as running:
            assert await running.say("one", number="7-1") == "1: one"
            # As after a restart: whether it was answered has to be looked up.
            monkeypatch.setattr(Answering, "came", lambda self, uid: None)
            assert await running.say("two", number="7") == "2: two"

    asyncio.run(run())


@pytest.mark.parametrize("kind", QUICK)
def test_a_name_that_is_no_text_holds_up_nothing(kind: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with run_bot(opened(kind)(), scope="chat") as running:
            said = await running.say("hello", is_private=False, user_name="A\ud83d")
            assert said == "1: A\ufffd: hello"

    asyncio.run(run())


def test_what_comes_in_the_middle_of_a_release_is_not_left(run_bot: RunBot) -> None:
    async def run() -> None:
        store = InMemorySessionStore()
        # So long that no look around helps.
        async with run_bot(store, lease=1000) as running:
            plain = store._core.backend.put_head
            update = Update(id="late", user_id="alice", chat_id="alice", text="second", address={"chat": "alice"})
            late = [update_event("edge-late", "edge", time.time(), update) | {"k": "edge-late"}]

            async def put_head(head: Head, **options: Any) -> bool:
                if late and head.session_id.endswith(".desk") and "settled" in head.fields.get("metadata", {}):
                    event = late.pop()
                    store.add_messages(head.session_id, [{"role": "system", "content": json.dumps(event), "id": event["k"]}])
                return await plain(head, **options)

            store._core.backend.put_head = put_head  # type: ignore[method-assign]
            await running.edge.deliver("first")
            await running.bot.idle()
            assert running.edge.screen() == ["1: first", "2: second"]

    asyncio.run(run())


class Failing(Edge):
    """A platform that is polled, and fails to open and to close as often as it is told."""

    polls = True
    fails = 0

    async def open(self, *arguments: Any) -> None:
        if self.fails:
            raise ConnectionError("no network to open")
        await super().open(*arguments)

    async def close(self) -> None:
        await super().close()
        if self.fails:
            self.fails -= 1
            raise ConnectionError("no network")


def test_polling_goes_on_after_platform_and_store_failed_together(run_bot: RunBot, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        store = InMemorySessionStore()
        edge = Failing()
        async with run_bot(store, edge=Edge("edge"), lease=0.3) as _, run_bot(store, edge=edge, lease=0.3) as running:
            receiving = running.bot._receiving
            assert receiving._lease is not None
            held_up()
            await eventually(lambda: receiving._lease is None)
            edge.fails = 2
            await eventually(lambda: edge.fails == 0)
            await eventually(lambda: receiving._lease is not None)
            assert await running.say("hello") == "1: hello"
            assert {type(error) for error, _ in running.errors} <= {ConnectionError, StorageError}
            running.errors.clear()

    asyncio.run(run())


def test_a_platform_that_cannot_be_opened_is_told_of_once(run_bot: RunBot) -> None:
    async def run() -> None:
        store = InMemorySessionStore()
        edge = Failing()
        async with run_bot(store, edge=Failing(), lease=0.3) as first, run_bot(store, edge=edge, lease=0.3) as running:
            edge.fails = 3
            await first.bot.stop()
            # Each attempt fails twice: to open, and to close again.
            await eventually(lambda: edge.opened)
            assert await running.say("hello") == "1: hello"
            assert [str(error) for error, _ in running.errors].count("no network to open") == 1
            running.errors.clear()

    asyncio.run(run())


def test_a_bot_that_was_stopped_does_not_start_again() -> None:
    async def run() -> None:
        bot = Bot(Edge(), agent=Model().agent(), session_store=InMemorySessionStore())
        await bot.start()
        with pytest.raises(RuntimeError, match="runs already"):
            await bot.start()
        await bot.stop()
        await bot.stop()
        with pytest.raises(RuntimeError, match="make a new one"):
            await bot.start()

    asyncio.run(run())
