"""adapt_store: what can be built on five methods works on any class that has them; the rest says plainly why not."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from tests.session.conftest import say
from turnlog.errors import InvalidMessageError, MessageIndexError, SessionNotFoundError, StorageError, UnsupportedVerbError
from turnlog.session import (
    AdaptedStore,
    AsyncAdaptedStore,
    AsyncInMemorySessionStore,
    AsyncSessionStoreProtocol,
    InMemorySessionStore,
    SessionStore,
    SessionStoreProtocol,
    adapt_store,
)

CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
TURN: list[dict[str, Any]] = [
    {"role": "user", "content": "do"},
    {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "tool", "content": "r", "tool_call_id": "c"},
    {"role": "assistant", "content": "done", "x": {"deep": [1]}},
]


class Five:
    """Five methods and nothing else; keeps role and text only."""

    def __init__(self) -> None:
        self.kept: dict[str, list[dict[str, str]]] = {}
        self.answer: Any = True

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        assert isinstance(content, str)
        self.kept.setdefault(session_id, []).append({"role": role, "content": content})
        return bool(self.answer) if isinstance(self.answer, bool) else self.answer  # type: ignore[no-any-return]

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        kept = self.kept.get(session_id, [])
        return [dict(message) for message in (kept[-max_messages:] if max_messages else kept)]

    def clear_session(self, session_id: str) -> bool:
        self.kept[session_id] = []
        return True

    def delete_session(self, session_id: str) -> bool:
        self.kept.pop(session_id, None)
        return True

    def session_exists(self, session_id: str) -> bool:
        return session_id in self.kept


class AsyncFive:
    """The same as coroutines."""

    def __init__(self) -> None:
        self.five = Five()

    async def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        return self.five.add_message(session_id, role, content, metadata)

    async def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return self.five.get_chat_history(session_id, max_messages)

    async def clear_session(self, session_id: str) -> bool:
        return self.five.clear_session(session_id)

    async def delete_session(self, session_id: str) -> bool:
        return self.five.delete_session(session_id)

    async def session_exists(self, session_id: str) -> bool:
        return self.five.session_exists(session_id)


@pytest.fixture
def five() -> Five:
    return Five()


@pytest.fixture
def store(five: Five) -> AdaptedStore:
    return adapt_store(five)


class TestWhatBecomesWhat:
    def test_each_kind(self) -> None:
        assert type(adapt_store(Five())) is AdaptedStore
        assert type(adapt_store(AsyncFive())) is AsyncAdaptedStore
        full, waiting, adapted = InMemorySessionStore(), AsyncInMemorySessionStore(), adapt_store(Five())
        assert adapt_store(full) is full
        assert adapt_store(waiting) is waiting
        assert adapt_store(adapted) is adapted

    def test_the_protocols_tell_them_apart(self) -> None:
        assert isinstance(Five(), SessionStoreProtocol)
        assert not isinstance(Five(), AsyncSessionStoreProtocol)
        assert isinstance(AsyncFive(), AsyncSessionStoreProtocol)
        assert not isinstance(AsyncFive(), SessionStoreProtocol)
        assert isinstance(adapt_store(Five()), SessionStoreProtocol)

    def test_what_is_no_store(self) -> None:
        class Mixed(Five):
            """One coroutine among four methods."""

            async def clear_session(self, session_id: str) -> bool:  # type: ignore[override]
                return True

        class Lacking:
            """Two are missing."""

            add_message = get_chat_history = clear_session = Five.clear_session

        with pytest.raises(TypeError, match="mixes sync methods and coroutines"):
            adapt_store(Mixed())
        with pytest.raises(TypeError, match="has no delete_session, session_exists"):
            adapt_store(Lacking())  # type: ignore[call-overload]
        for nothing in (None, "text", 5, Five):
            with pytest.raises(TypeError):
                adapt_store(nothing)  # type: ignore[call-overload]


class TestMessages:
    def test_plain_text_stays_plain(self, store: AdaptedStore, five: Five) -> None:
        store.add_message("s", "user", "Hello")
        store.add_user_message("s", "a")
        store.add_assistant_message("s", "b")
        assert five.kept["s"] == [
            {"role": "user", "content": text} if text != "b" else {"role": "assistant", "content": "b"} for text in ("Hello", "a", "b")
        ]
        assert store.get_chat_history("s") == five.kept["s"]

    def test_what_is_more_than_text_comes_back_exactly(self, store: AdaptedStore) -> None:
        for message in TURN[:3]:
            store.add_message("s", message["role"], message["content"], None, message.get("tool_calls"), message.get("tool_call_id"))
        store.add_message("s", "user", [{"type": "text", "text": "\ud800"}])
        store.add_message("s", "user", '{"turnlog":1, "is": "just text"}')
        assert store.get_chat_history("s") == [
            *TURN[:3],
            {"role": "user", "content": [{"type": "text", "text": "\ud800"}]},
            {"role": "user", "content": '{"turnlog":1, "is": "just text"}'},
        ]

    def test_a_turn_shows_once_it_is_whole(self, store: AdaptedStore, five: Five) -> None:
        store.add_messages("s", TURN)
        assert store.get_chat_history("s") == TURN
        last = five.kept["s"].pop()
        assert store.get_chat_history("s") == []
        assert store.get_messages("s") == []
        store.add_message("s", "user", "next")
        assert store.get_chat_history("s") == [{"role": "user", "content": "next"}]
        five.kept["s"].append(last)
        assert [message.record for message in store.get_messages("s")] == [*TURN[:3], {"role": "user", "content": "next"}, TURN[3]]

    def test_every_window(self, store: AdaptedStore) -> None:
        history = [*say("a", "b"), *TURN, *say("c"), *TURN, *say("d", "e")]
        store.add_messages("s", history[:2])
        store.add_messages("s", history[2:6])
        store.add_message("s", "user", "c")
        store.add_messages("s", history[7:11])
        for message in history[11:]:
            store.add_message("s", message["role"], message["content"])
        with InMemorySessionStore() as full:
            full.add_messages("s", history)
            for size in range(len(history) + 3):
                assert store.get_chat_history("s", size) == full.get_chat_history("s", size), size
            for budget in range(0, 40, 3):
                count = lambda message: len(str(message["content"]))  # noqa: E731
                assert store.get_chat_history("s", max_tokens=budget, count_tokens=count) == full.get_chat_history(
                    "s", max_tokens=budget, count_tokens=count
                )

    def test_slices_forks_and_differences(self, store: AdaptedStore) -> None:
        store.add_messages("p", say(*"abcd"))
        assert [message.content for message in store.get_messages("p", -3, -1)] == ["b", "c"]
        child = store.fork_session("p", 1)
        assert [message.content for message in store.get_messages(child)] == ["a", "b"]
        assert store.fork_session("p", new_session_id="q") == "q"
        store.add_message(child, "user", "x")
        found = store.diff(child, "p")
        assert (found.ancestor, found.common) == (None, 2)
        assert [message.content for message in found.right] == ["c", "d"]
        for index in (-1, 4):
            with pytest.raises(MessageIndexError):
                store.fork_session("p", index)
        with pytest.raises(SessionNotFoundError):
            store.fork_session("none")
        with pytest.raises(MessageIndexError):
            store.get_messages("p", "1")  # type: ignore[arg-type]

    def test_clearing_deleting_and_existing(self, store: AdaptedStore) -> None:
        assert not store.session_exists("s")
        store.add_message("s", "user", "x")
        assert store.clear_session("s")
        assert store.session_exists("s")
        assert store.delete_session("s")
        assert not store.session_exists("s")
        store.close()

    def test_moving_to_a_full_store(self, store: AdaptedStore) -> None:
        store.add_message("s", "user", "Hello")
        store.add_messages("s", TURN)
        with store, InMemorySessionStore() as full:
            assert full.import_sessions(store.export_session("s")).imported == 1
            assert full.get_chat_history("s") == store.get_working_history("s") == [{"role": "user", "content": "Hello"}, *TURN]
            assert store.export_session("none") == {"version": 1, "sessions": []}
            store.invalidate_cache()


class TestRefusals:
    @pytest.mark.parametrize("answer", [False, None, 1, "yes"])
    def test_only_true_means_stored(self, store: AdaptedStore, five: Five, answer: Any) -> None:
        five.answer = answer
        with pytest.raises(StorageError, match="the message may not be stored"):
            store.add_message("s", "user", "x")

    def test_messages_are_checked_before_anything_is_written(self, store: AdaptedStore, five: Five) -> None:
        with pytest.raises(InvalidMessageError):
            store.add_messages("s", [*say("a"), {"role": "user", "content": b""}])
        with pytest.raises(ValueError):
            store.add_message("", "user", "x")
        assert five.kept == {}

    def test_no_compare_and_set(self, store: AdaptedStore) -> None:
        with pytest.raises(UnsupportedVerbError) as error:
            store.add_messages("s", say("a"), expect_revision="")
        assert "expect_revision" in error.value.verb  # type: ignore[attr-defined]

    def test_every_verb_of_a_full_store_is_there_or_says_why_not(self, store: AdaptedStore) -> None:
        for name, _ in inspect.getmembers(SessionStore, callable):
            if name.startswith("_") or name in ("backend", "closed"):
                continue
            try:
                assert callable(getattr(store, name))
            except UnsupportedVerbError as error:
                assert error.verb == name  # type: ignore[attr-defined]
                assert "five methods" in str(error)
                assert not hasattr(store, name)

    def test_other_names_are_not_there(self, store: AdaptedStore) -> None:
        with pytest.raises(AttributeError):
            _ = store.no_such_verb


def test_the_async_form(five: Five) -> None:
    async def run() -> None:
        store = adapt_store(AsyncFive())
        await store.add_messages("s", TURN)
        await store.add_message("s", "user", "x")
        await store.add_user_message("s", "y")
        await store.add_assistant_message("s", "z")
        spoken = [{"role": role, "content": text} for role, text in (("user", "x"), ("user", "y"), ("assistant", "z"))]
        assert await store.get_chat_history("s", 4) == [TURN[3], *spoken]
        assert await store.get_working_history("s", 2) == spoken[1:]
        assert len(await store.get_messages("s")) == 7
        child = await store.fork_session("s", 4)
        assert (await store.diff("s", child)).common == 5
        with pytest.raises(UnsupportedVerbError):
            await store.search("x")
        assert await store.clear_session("s")
        assert await store.delete_session("s")
        assert not await store.session_exists("s")
        await store.close()

    asyncio.run(run())
