"""TurnlogSession by itself: the protocol, exact items, windows, pops, races, cancellation, on stores of every kind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import agents.memory
import pytest
from agents.extensions.memory import EncryptedSession
from agents.memory import SessionSettings

from tests.histories import random_history
from tests.integrations.five_methods import AsyncFive, Five
from tests.strict_api import broken_rules
from turnlog.errors import ClosedStoreError, InvalidMessageError, InvalidSessionIdError, UnsupportedVerbError
from turnlog.integrations.openai_agents import TurnlogSession
from turnlog.session import (
    AsyncInMemorySessionStore,
    AsyncSqliteSessionStore,
    DefaultSessionStore,
    InMemorySessionStore,
    SessionStore,
    SqliteSessionStore,
)

FULL = ("sqlite", "async sqlite", "json", "memory", "async memory", "url")
KINDS = (*FULL, "five", "async five")
EASY = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello."}]
SAID = {
    "type": "message",
    "role": "assistant",
    "id": "msg_1",
    "status": "completed",
    "content": [{"type": "output_text", "text": "It is noon.", "annotations": []}],
}
Opened = Callable[..., TurnlogSession]


def call(call_id: str) -> dict[str, Any]:
    """A tool call as the framework writes it."""
    return {"type": "function_call", "call_id": call_id, "name": "clock", "arguments": "{}", "id": f"fc_{call_id}"}


def result(call_id: str) -> dict[str, Any]:
    """Its result."""
    return {"type": "function_call_output", "call_id": call_id, "output": "12:00"}


def reasoning(number: int) -> dict[str, Any]:
    """What the model thought."""
    return {"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": "gAAA"}


@pytest.fixture(params=FULL)
def full(request: pytest.FixtureRequest) -> str:
    """A kind of store that has all verbs."""
    return str(request.param)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Any kind of store."""
    return str(request.param)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """``opened(kind, session_id)``: a session; the same kind asked for twice is the same place."""
    places: dict[str, Any] = {}
    sessions: list[TurnlogSession] = []

    def make(kind: str) -> Any:
        makers: dict[str, Callable[[], Any]] = {
            "sqlite": lambda: SqliteSessionStore(tmp_path / "s.sqlite", durability="process"),
            "async sqlite": lambda: AsyncSqliteSessionStore(tmp_path / "s.sqlite", durability="process"),
            "json": lambda: DefaultSessionStore(tmp_path / "sessions", durability="process"),
            "memory": InMemorySessionStore,
            "async memory": AsyncInMemorySessionStore,
            "url": lambda: f"sqlite://{tmp_path}/u.sqlite?durability=process",
            "five": Five,
            "async five": AsyncFive,
        }
        return makers[kind]()

    def open_one(kind: str, session_id: str = "one", **options: Any) -> TurnlogSession:
        if kind not in places:
            places[kind] = make(kind)
        sessions.append(TurnlogSession(session_id, places[kind], **options))
        return sessions[-1]

    yield open_one

    async def end() -> None:
        for session in sessions:
            await session.close()
        for store in places.values():
            if isinstance(store, SessionStore):
                store.close()
            elif hasattr(store, "close"):
                await store.close()

    asyncio.run(end())


def filled(session: TurnlogSession, items: list[dict[str, Any]]) -> None:
    """Store the items in one call."""
    asyncio.run(session.add_items(items))


def test_it_is_a_session_of_the_framework(kind: str, opened: Opened) -> None:
    session = opened(kind)
    assert isinstance(session, agents.memory.Session)
    assert session.session_id == "one"
    assert session.session_settings == SessionSettings()


def test_items_come_back_exactly(kind: str, opened: Opened) -> None:
    items = [*EASY, {"role": "user", "content": "time?"}, reasoning(1), call("a"), call("b"), result("b"), result("a"), SAID]
    session = opened(kind)

    async def use() -> None:
        assert await session.get_items() == []
        await session.add_items([])
        await session.add_items(items[:2])
        await session.add_items(items[2:])
        assert await session.get_items() == items
        assert await opened(kind, "two").get_items() == []
        await session.clear_session()
        assert await session.get_items() == []

    asyncio.run(use())


def test_one_call_is_one_append(tmp_path: Path) -> None:
    with SqliteSessionStore(tmp_path / "s.sqlite") as store:
        session = TurnlogSession("one", store)
        filled(session, EASY)
        before = store.get_revision("one")
        with pytest.raises(InvalidMessageError):
            filled(session, [*EASY, {"role": "user", "content": {1, 2}}])
        filled(session, [])
        assert store.get_revision("one") == before
        assert [message.record for message in store.get_messages("one")] == EASY
        assert len({message.id for message in store.get_messages("one")}) == 2


def test_limits_split_no_tool_group(full: str, opened: Opened) -> None:
    items = [EASY[0], reasoning(1), call("a"), call("b"), result("a"), result("b"), SAID, {"role": "user", "content": "And now?"}]
    session = opened(full)
    filled(session, items)

    async def lengths() -> list[int]:
        windows = [await session.get_items(limit) for limit in range(10)]
        assert all(window == items[len(items) - len(window) :] for window in windows)
        return [len(window) for window in windows]

    assert asyncio.run(lengths()) == [0, 1, 2, 2, 2, 2, 2, 7, 8, 8]
    assert asyncio.run(session.get_items(-1)) == items


def test_settings_give_the_limit(opened: Opened) -> None:
    items = [{"role": "user", "content": str(number)} for number in range(5)]
    session = opened("memory", session_settings={"limit": 3})
    filled(session, items)
    assert asyncio.run(session.get_items()) == items[2:]
    assert asyncio.run(session.get_items(limit=1)) == items[4:]
    assert session.session_settings == SessionSettings(limit=3)
    with pytest.raises(TypeError, match="limitt"):
        opened("memory", session_settings={"limitt": 3})


def test_the_stores_own_limit_holds_where_none_is_given(tmp_path: Path) -> None:
    with SqliteSessionStore(tmp_path / "s.sqlite", max_messages=4) as store:
        session = TurnlogSession("one", store)
        filled(session, [{"role": "user", "content": str(number)} for number in range(5)])
        assert [item["content"] for item in asyncio.run(session.get_items())] == ["1", "2", "3", "4"]


def test_calls_that_still_wait_are_shown_and_abandoned_ones_are_not(full: str, opened: Opened) -> None:
    session = opened(full)
    waiting = [EASY[0], reasoning(1), call("a"), call("b"), result("b")]
    filled(session, waiting)
    assert asyncio.run(session.get_items()) == waiting
    assert asyncio.run(session.get_items(4)) == waiting[1:]
    assert asyncio.run(session.get_items(3)) == []
    filled(session, [{"role": "user", "content": "Never mind."}])
    assert asyncio.run(session.get_items()) == [EASY[0], {"role": "user", "content": "Never mind."}]


def test_a_result_without_a_call_is_never_given(full: str, opened: Opened) -> None:
    session = opened(full)
    filled(session, [result("lost"), EASY[0]])
    assert asyncio.run(session.get_items()) == [EASY[0]]
    assert asyncio.run(session.get_items(5)) == [EASY[0]]


@pytest.mark.parametrize("seed", range(60))
def test_what_others_wrote_comes_as_items_that_the_api_takes(seed: int) -> None:
    store = InMemorySessionStore()
    store.add_messages("one", [{"role": "user", "content": "Hi"}])
    store.add_messages("one", random_history(seed).messages)
    store.add_messages("one", [{"role": "user", "content": "Go on"}])
    session = TurnlogSession("one", store)

    async def read() -> None:
        everything = await session.get_items()
        assert all("type" in item or item["role"] in ("user", "assistant", "system", "developer") for item in everything)
        assert not any(key in item for item in everything for key in ("tool_calls", "tool_call_id"))
        for limit in range(1, len(everything) + 3):
            window = await session.get_items(limit)
            assert len(window) <= limit
            assert window == everything[len(everything) - len(window) :]
            assert broken_rules(window) == []

    asyncio.run(read())


def test_chat_messages_with_calls_come_as_items() -> None:
    store = InMemorySessionStore()
    function = {"name": "clock", "arguments": "{}"}
    calls = [{"id": name, "type": "function", "function": function} for name in ("a", "b")]
    results = [{"role": "tool", "tool_call_id": name, "content": "12:00"} for name in ("a", "b")]
    store.add_messages("one", [EASY[0], {"role": "assistant", "content": None, "tool_calls": calls}, *results, EASY[1]])
    kinds = [item.get("type", item.get("role")) for item in asyncio.run(TurnlogSession("one", store).get_items())]
    assert kinds == ["user", "function_call", "function_call", "function_call_output", "function_call_output", "assistant"]


def test_pop_takes_the_newest(full: str, opened: Opened) -> None:
    session = opened(full)
    items = [EASY[0], call("a"), result("a"), SAID]
    filled(session, items)

    async def empty() -> list[Any]:
        taken = [await session.pop_item() for _ in range(5)]
        assert await session.get_items() == []
        return taken

    assert asyncio.run(empty()) == [SAID, result("a"), call("a"), EASY[0], None]
    filled(session, EASY)
    assert asyncio.run(session.get_items()) == EASY


def test_five_methods_cannot_pop(opened: Opened) -> None:
    for kind in ("five", "async five"):
        session = opened(kind)
        filled(session, EASY)
        with pytest.raises(UnsupportedVerbError, match="revert_to_message"):
            asyncio.run(session.pop_item())
        assert asyncio.run(session.get_items()) == EASY


@pytest.mark.parametrize("race", ["sqlite", "async sqlite", "json"])
def test_racing_sessions_lose_nothing(race: str, opened: Opened) -> None:
    sessions = [opened(race) for _ in range(4)]

    async def turns(place: int, session: TurnlogSession) -> None:
        for number in range(10):
            await session.add_items(
                [{"role": "user", "content": f"{place}.{number}"}, {"role": "assistant", "content": f"{place}.{number}"}]
            )

    async def add() -> list[Any]:
        await asyncio.gather(*(turns(place, session) for place, session in enumerate(sessions)))
        return await sessions[0].get_items()

    items = asyncio.run(add())
    assert [item["content"] for item in items[::2]] == [item["content"] for item in items[1::2]]
    assert sorted(item["content"] for item in items[::2]) == sorted(f"{place}.{number}" for place in range(4) for number in range(10))

    async def pop_beside_adds() -> tuple[list[Any], list[Any]]:
        added = [{"role": "user", "content": f"late {number}"} for number in range(10)]

        async def add_late() -> None:
            for item in added:
                await sessions[3].add_items([item])

        async def pop(session: TurnlogSession) -> list[Any]:
            return [await session.pop_item() for _ in range(10)]

        popped = await asyncio.gather(pop(sessions[0]), pop(sessions[1]), add_late())
        return [*popped[0], *popped[1]], [*items, *added]

    taken, everything = asyncio.run(pop_beside_adds())
    left = asyncio.run(sessions[2].get_items())
    assert len(taken) == 20
    assert sorted(str(item) for item in [*taken, *left]) == sorted(str(item) for item in everything)


def test_the_event_loop_never_waits_for_a_sync_store() -> None:
    gate = threading.Event()

    class Slow(Five):
        def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
            assert gate.wait(10)
            return super().get_chat_history(session_id, max_messages)

    async def use() -> list[Any]:
        reading = asyncio.create_task(TurnlogSession("one", Slow()).get_items())
        await asyncio.sleep(0)
        gate.set()
        return await reading

    assert asyncio.run(use()) == []


@pytest.mark.parametrize("times", [1, 3])
def test_a_cancelled_call_waits_for_its_outcome(times: int) -> None:
    begun, gate = threading.Event(), threading.Event()

    class Slow(InMemorySessionStore):
        def add_messages(self, *arguments: Any, **named: Any) -> bool:
            begun.set()
            assert gate.wait(10)
            return super().add_messages(*arguments, **named)

    store = Slow()

    async def use() -> None:
        adding = asyncio.create_task(TurnlogSession("one", store).add_items(EASY))
        assert await asyncio.to_thread(begun.wait, 10)
        for _ in range(times):
            adding.cancel()
            await asyncio.sleep(0)
        assert not adding.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await adding

    asyncio.run(use())
    assert store.get_chat_history("one") == EASY


def test_close_closes_only_what_it_opened(tmp_path: Path) -> None:
    async def use() -> None:
        url = f"sqlite://{tmp_path}/s.sqlite"
        async with TurnlogSession("one", url) as session:
            await session.add_items(EASY)
        with pytest.raises(ClosedStoreError):
            await session.get_items()
        async with AsyncSqliteSessionStore(tmp_path / "s.sqlite") as store:
            async with TurnlogSession("one", store) as again:
                assert await again.get_items() == EASY
            assert await store.get_chat_history("one") == EASY

    asyncio.run(use())


def test_no_store_means_the_default_one(home: Path) -> None:
    async def use() -> None:
        async with TurnlogSession("chat-1") as session:
            await session.add_items(EASY)

    asyncio.run(use())
    assert (home / ".praisonai" / "sessions" / "chat-1.json").exists()


def test_wrong_arguments_are_refused_at_once() -> None:
    with pytest.raises(InvalidSessionIdError):
        TurnlogSession("", InMemorySessionStore())
    with pytest.raises(TypeError, match="no session store"):
        TurnlogSession("one", 5)  # type: ignore[arg-type]


def test_the_frameworks_encryption_wraps_it(tmp_path: Path) -> None:
    with SqliteSessionStore(tmp_path / "s.sqlite") as store:
        session = EncryptedSession("one", TurnlogSession("one", store), encryption_key="a key of the test")
        asyncio.run(session.add_items([*EASY, SAID]))
        assert asyncio.run(session.get_items()) == [*EASY, SAID]
        assert asyncio.run(session.get_items(2)) == [EASY[1], SAID]
        assert asyncio.run(session.pop_item()) == SAID
        assert "Hello" not in str(store.get_messages("one"))
