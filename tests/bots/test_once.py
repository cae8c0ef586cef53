"""Stored once and delivered: redeliveries, crashes between any two steps, and workers that take over from each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.bots.conftest import RunBot
from tests.bots.edge import Edge, eventually
from tests.bots.models import Model
from tests.bots.stores import FULL, QUICK, Open
from turnlog.bots import Bot, DeliveryError, desk, events
from turnlog.bots.leases import Lease, Leases


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("kind", [*QUICK, "redis"])
def test_an_update_that_is_delivered_again_is_answered_once(kind: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    edge, model = Edge(), Model()

    async def run() -> None:
        async with run_bot(opened(kind)(), edge=edge, model=model) as running:
            for _ in range(3):
                await running.edge.deliver("hello", number="7")
            await running.bot.idle()
            await running.edge.deliver("hello", number="7")
            await running.bot.idle()

    for _ in range(2):
        asyncio.run(run())
    assert edge.screen() == ["1: hello"]
    assert model.asked == ["hello"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_what_a_cut_log_has_answered_stays_known(
    kind: str, run_bot: RunBot, opened: Callable[[str], Open], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "CUT_AFTER", 6)

    async def run() -> None:
        store = opened(kind)()
        async with run_bot(store) as running:
            for number in range(20):
                await running.say(f"m{number}", number=str(number))
                assert len(store.get_messages("bot_edge_alice.desk")) <= 8
            for number in range(20):
                await running.say(f"m{number}", number=str(number))
            assert len(running.edge.screen()) == 20
            assert len(running.model.asked) == 20

    asyncio.run(run())


def test_five_methods_read_the_end_of_a_long_log(run_bot: RunBot, opened: Callable[[str], Open], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "FIRST_READ", 4)

    async def run() -> None:
        store = opened("five methods")()
        async with run_bot(store) as running:
            await running.say("hello")
            await running.say("/new")
            for start in range(0, 40, 8):
                for number in range(start, start + 8):
                    await running.edge.deliver(f"m{number}")
                await running.bot.idle()
            assert running.edge.screen()[2:] == [f"{n + 1}: m{n}" for n in range(40)]
            await running.say("/resume first")
            await running.say("more")
            reads: list[int] = []
            whole = store.get_chat_history
            store.get_chat_history = lambda session, n=None: (reads.append(n) if session.endswith(".desk") else None, whole(session, n))[1]
            assert await running.say("/status") == "Conversation first: 4 messages."
            assert max(reads) <= 16

    asyncio.run(run())


STEPS = (
    "before the model",
    "after the turn",
    "after the first piece",
    "after the answer",
    "after a switch",
    "planned undo",
    "after an undo",
)
CRASHES = [(kind, step) for kind in QUICK for step in STEPS if kind != "five methods" or "undo" not in step]


@pytest.mark.parametrize(("kind", "step"), CRASHES)
def test_a_crash_between_two_steps_is_made_good(
    kind: str, step: str, run_bot: RunBot, opened: Callable[[str], Open], monkeypatch: pytest.MonkeyPatch
) -> None:
    edge, model = Edge(longest=100), Model()
    crashing = [False]

    def crash_in(owner: Any, name: str, *, when: str) -> None:
        plain = getattr(owner, name)

        async def crashing_call(*args: Any, **kwargs: Any) -> Any:
            if crashing[0] and when == "before":
                raise Crash
            outcome = await plain(*args, **kwargs)
            if crashing[0]:
                raise Crash
            return outcome

        monkeypatch.setattr(owner, name, crashing_call)

    command = "/undo" if "undo" in step else "/new" if step == "after a switch" else "long 300"
    match step:
        case "before the model":
            crash_in(model, "_text", when="before")
        case "after the turn":
            crash_in(desk.Desk, "sent", when="before")
            crash_in(edge, "send", when="before")
        case "after the first piece":
            crash_in(desk.Desk, "sent", when="after")
        case "after the answer":
            crash_in(desk.Desk, "delivered", when="before")
        case "after a switch":
            crash_in(desk.Desk, "switch", when="after")
        case "planned undo":
            crash_in(desk.Desk, "plan", when="after")
        case "after an undo":
            crash_in(edge, "send", when="before")

    async def first() -> None:
        bot = Bot(edge, agent=model.agent(), session_store=opened(kind)(), lease=0.2)
        await bot.start()
        for text in ("zero", "one", "two"):
            await edge.deliver(text)
            await bot.idle()
        crashing[0] = True
        await edge.deliver(command)
        # What it raises ends the loop, and nothing that was to be released is.
        await asyncio.gather(*bot._workers._tasks.values())

    with pytest.raises(Crash):
        asyncio.run(first())
    crashing[0] = False

    async def second() -> None:
        async with run_bot(opened(kind)(), edge=edge, model=model, lease=0.2) as running:
            await eventually(lambda: len(edge.screen()) > 3)
            await running.bot.idle()
            assert await running.say("/status")
            assert await running.say("three")

    asyncio.run(second())
    if command == "long 300":
        pieces = [text for text in edge.screen()[3:] if text.startswith("word")]
        again = 1 if step == "after the answer" else 0
        assert "".join(pieces).count("word") == 60 + again * 20
        assert model.asked.count("long 300") == 1
        assert edge.screen()[-2:] == ["Conversation first: 8 messages.", "5: three"]
    elif command == "/new":
        assert "A new conversation" in edge.screen()[3]
        assert edge.screen()[-1] == "1: three"
    else:
        assert edge.screen()[3:] == ["The last exchange is taken back.", "Conversation first: 4 messages.", "3: three"]


@pytest.mark.parametrize("kind", FULL)
def test_two_workers_share_users_and_answer_each_update_once(kind: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        model = Model(0.01)
        async with AsyncExitStack() as scope:
            one, two = [await scope.enter_async_context(run_bot(opened(kind)(), model=model, lease=5)) for _ in range(2)]
            for number in range(6):
                for user in ("alice", "bob", "carol"):
                    # Each update reaches both, as it does when a platform was not sure.
                    await asyncio.gather(*(each.edge.deliver(f"m{number}", user, number=f"{user}{number}") for each in (one, two)))
            await eventually(lambda: all(len(one.edge.screen(user) + two.edge.screen(user)) == 6 for user in ("alice", "bob", "carol")))
            for each in (one, two):
                await each.bot.idle()
            for user in ("alice", "bob", "carol"):
                assert sorted(one.edge.screen(user) + two.edge.screen(user)) == [f"{n + 1}: m{n}" for n in range(6)]
        assert len(model.asked) == 18

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_worker_that_lost_its_lease_does_not_send(kind: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        slow, quick = Model(), Model()
        slow.gate = asyncio.Event()
        async with AsyncExitStack() as scope:
            one = await scope.enter_async_context(run_bot(opened(kind)(), model=slow, lease=0.3))
            await one.edge.deliver("hello")
            await eventually(lambda: slow.asked)
            # The process is held up: it renews nothing, and goes on later.
            for lease in [task for task in asyncio.all_tasks() if "Lease._renew" in str(task.get_coro())]:
                lease.cancel()
            two = await scope.enter_async_context(run_bot(opened(kind)(), model=quick, lease=0.3))
            await eventually(two.edge.screen)
            slow.gate.set()
            await one.bot.idle()
            assert (one.edge.screen(), two.edge.screen()) == ([], ["1: hello"])
            assert await two.say("again") == "2: again"
            one.errors.clear()

    asyncio.run(run())


def test_a_turn_that_another_worker_stored_is_delivered_and_not_stored_again(run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        store = opened("sqlite")()
        model = Model()
        model.gate = asyncio.Event()
        async with run_bot(store, model=model) as running:
            await running.edge.deliver("hello", number="7")
            await eventually(lambda: model.asked)
            # It died before it could note the delivery, and this worker was asking the model already.
            turn = [
                {"role": "user", "content": "hello", "id": "edge-7-0"},
                {"role": "assistant", "content": "the first answer", "id": "edge-7-1"},
            ]
            store.add_messages("bot_edge_alice", turn)
            model.gate.set()
            await running.bot.idle()
            assert running.edge.screen() == ["the first answer"]
            assert len(store.get_messages("bot_edge_alice")) == 2

    asyncio.run(run())


def test_a_worker_that_loses_its_lease_while_it_is_refused_sends_no_more(run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with run_bot(opened("memory")(), lease=0.4) as running:
            running.edge.refusals = [DeliveryError("flood", retry_after=0.6)]
            await running.edge.deliver("hello")
            await eventually(lambda: not running.edge.refusals)
            for lease in [task for task in asyncio.all_tasks() if "Lease._renew" in str(task.get_coro())]:
                lease.cancel()
            store = running.bot.store
            other = await eventually_some(lambda: Leases(store, 0.9, lambda error: None).take("bot_edge_alice.desk", "edge"))
            await asyncio.sleep(0.4)
            assert running.edge.sent() == []
            await other.release()
            await eventually(running.edge.sent)
            running.errors.clear()

    async def eventually_some(ask: Callable[[], Any]) -> Any:
        async with asyncio.timeout(10):
            while (found := await ask()) is None:  # noqa: ASYNC110  # nothing tells when a lease runs out
                await asyncio.sleep(0.01)
            return found

    asyncio.run(run())


def test_what_comes_while_the_last_look_is_taken_is_not_left(
    run_bot: RunBot, opened: Callable[[str], Open], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        store = opened("five methods")()
        here = asyncio.get_running_loop()
        async with run_bot(store) as running:
            plain = store.get_chat_history
            late = ["second"]

            def slow(session_id: str, *arguments: Any) -> Any:
                found = plain(session_id, *arguments)
                if session_id.endswith(".desk") and running.edge.screen() and late:
                    # It is stored after the look, and before what was seen is acted on.
                    asyncio.run_coroutine_threadsafe(running.edge.deliver(late.pop()), here).result(10)
                return found

            monkeypatch.setattr(store, "get_chat_history", slow)
            await running.edge.deliver("first")
            await running.bot.idle()
            assert running.edge.screen() == ["1: first", "2: second"]

    asyncio.run(run())


def test_what_came_to_a_desk_that_was_taken_is_not_left(
    run_bot: RunBot, opened: Callable[[str], Open], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        store = opened("memory")()
        # So long that no look around helps.
        async with run_bot(store, lease=1000) as one, run_bot(store, lease=1000) as two:
            plain = Lease.release_at
            late = ["second"]

            async def release_at(lease: Lease, count: int, **options: Any) -> bool:
                if late:
                    await two.edge.deliver(late.pop(), number="another")
                    await two.bot.idle()
                return await plain(lease, count, **options)

            monkeypatch.setattr(Lease, "release_at", release_at)
            await one.edge.deliver("first")
            await one.bot.idle()
            assert (one.edge.screen(), two.edge.screen()) == (["1: first", "2: second"], [])

    asyncio.run(run())


class Polled(Edge):
    polls = True


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_one_worker_polls_and_another_takes_over(kind: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with run_bot(opened(kind)(), edge=Polled(), lease=0.6) as two_scope:
            assert two_scope.edge.opened == 1
            async with run_bot(opened(kind)(), edge=Polled(), lease=0.6) as two:
                await asyncio.sleep(1)
                assert two.edge.opened == 0
                await two_scope.bot.stop()
                await eventually(lambda: two.edge.opened == 1)
                assert await two.say("hello") == "1: hello"

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["five methods", "async five methods"])
def test_with_five_methods_the_worker_polls(kind: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with run_bot(opened(kind)(), edge=Polled()) as running:
            assert await running.say("hello") == "1: hello"

    asyncio.run(run())


def test_the_end_of_a_log_that_reaches_back_too_little_is_seen() -> None:
    with pytest.raises(events.TooShortError):
        events.folded([{"e": "sent", "of": "u", "k": "1", "messages": []}], whole=False)
    marks = {"current": None, "last": None, "seen": "0", "oldest": None}
    with pytest.raises(events.TooShortError):
        events.folded([{"e": "delivered", "of": "u", "k": "1", "last": 1.0, "marks": marks}], whole=False)


@pytest.mark.parametrize("kind", QUICK[1:])
def test_a_person_on_two_platforms_has_one_conversation(kind: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    people = {("left", "alice"): "anna", ("right", "a1"): "anna"}

    async def run() -> None:
        store = opened(kind)()
        by_function = {"edge": Edge("right"), "link": lambda *who: people.get(who)}
        async with run_bot(store, edge=Edge("left"), link=people) as left, run_bot(store, **by_function) as right:
            assert await left.say("hello", "alice", number="1") == "1: hello"
            assert await right.say("and here", "a1", number="1") == "2: and here"
            assert (await right.say("/new", "a1")).startswith("A new conversation")
            assert await left.say("anew", "alice") == "1: anew"
            assert await right.say("someone else", "alice") == "1: someone else"
            left.errors.clear()

    asyncio.run(run())


def test_a_refused_delivery_holds_up_nobody_else(run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with run_bot(opened("memory")()) as running:
            running.edge.refusals = [DeliveryError("flood", retry_after=0.5)]
            await running.edge.deliver("hello", "alice")
            await eventually(lambda: not running.edge.refusals)
            assert await asyncio.wait_for(_quick(running), 0.4) == ["1: hello"]
            await running.bot.idle()
            assert running.edge.screen("alice") == ["1: hello"]
            running.errors.clear()

    async def _quick(running: Any) -> list[str]:
        await running.edge.deliver("hello", "bob")
        await eventually(lambda: running.edge.screen("bob"))
        return running.edge.screen("bob")

    asyncio.run(run())
