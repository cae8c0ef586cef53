"""A program that uses turnlog with types. mypy --strict must accept it, and must need each of its `type: ignore` marks."""

from __future__ import annotations

from typing import Any, assert_type

from tests.typing.documented_store import InMemorySessionStore as DocumentedStore
from turnlog.protocols import AsyncSessionStoreProtocol
from turnlog.session import (
    AsyncSessionStore,
    DefaultSessionStore,
    HierarchicalSessionStore,
    InMemorySessionStore,
    SessionData,
    SessionDiff,
    SessionInfo,
    SessionMessage,
    SessionSnapshot,
    SessionStore,
    SessionStoreProtocol,
    adapt_store,
    get_default_session_store,
    open_async_store,
    open_store,
)


class OwnStore:
    """Five methods and nothing else; no inheritance."""

    def __init__(self) -> None:
        self.kept: dict[str, list[dict[str, Any]]] = {}

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        self.kept.setdefault(session_id, []).append({"role": role, "content": content})
        return True

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return [dict(message) for message in self.kept.get(session_id, [])[-(max_messages or 0) :]]

    def clear_session(self, session_id: str) -> bool:
        self.kept[session_id] = []
        return True

    def delete_session(self, session_id: str) -> bool:
        self.kept.pop(session_id, None)
        return True

    def session_exists(self, session_id: str) -> bool:
        return session_id in self.kept


class OwnAsyncStore:
    """The same five as coroutines."""

    async def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        return True

    async def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return []

    async def clear_session(self, session_id: str) -> bool:
        return True

    async def delete_session(self, session_id: str) -> bool:
        return True

    async def session_exists(self, session_id: str) -> bool:
        return False


class FourMethods:
    """One method short of a store."""

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        return True

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return []

    def clear_session(self, session_id: str) -> bool:
        return True

    def delete_session(self, session_id: str) -> bool:
        return True


def talk(store: SessionStoreProtocol) -> int:
    """What an agent does: it needs the five methods only."""
    store.add_message("chat", "user", "Hello", {"from": "test"})
    return len(store.get_chat_history("chat", 10))


async def talk_later(store: AsyncSessionStoreProtocol) -> int:
    """The same for an event loop."""
    await store.add_message("chat", "user", "Hello")
    return len(await store.get_chat_history("chat"))


def accepted() -> None:
    """Every store here satisfies the contract that it is passed for."""
    for store in (OwnStore(), DocumentedStore(), InMemorySessionStore(), DefaultSessionStore("sessions"), open_store("memory://")):
        talk(store)
    talk(HierarchicalSessionStore(session_dir="sessions", max_messages=200))
    talk(get_default_session_store())


async def accepted_later() -> None:
    """Async stores, where an async one is asked for."""
    await talk_later(OwnAsyncStore())
    await talk_later(open_async_store("memory://"))


async def rejected() -> None:
    """What must not pass; the marks are errors themselves where mypy would let it through."""
    talk(OwnAsyncStore())  # type: ignore[arg-type]  # coroutines are no answers
    talk(open_async_store("memory://"))  # type: ignore[arg-type]
    talk(FourMethods())  # type: ignore[arg-type]  # session_exists is missing
    await talk_later(OwnStore())  # type: ignore[arg-type]
    await talk_later(InMemorySessionStore())  # type: ignore[arg-type]
    InMemorySessionStore().add_message("chat", "user")  # type: ignore[call-arg]  # no content
    InMemorySessionStore().get_messages("chat", "1")  # type: ignore[arg-type]
    SessionMessage(role="user").content = "changed"  # type: ignore[misc]  # values are frozen


def values(store: SessionStore) -> None:
    """The types that the verbs of a full store give."""
    assert_type(store.add_messages("chat", [{"role": "user", "content": "Hello"}], expect_revision=""), bool)
    assert_type(store.get_revision("chat"), str)
    assert_type(store.get_chat_history("chat", max_tokens=100, count_tokens=lambda message: len(str(message))), list[dict[str, Any]])
    assert_type(store.get_messages("chat", -2), list[SessionMessage])
    assert_type(store.get_session("chat"), SessionData)
    assert_type(store.fork_session("chat", 0, new_session_id="fork"), str)
    assert_type(store.get_snapshots("chat"), list[SessionSnapshot])
    assert_type(store.diff("chat", "fork"), SessionDiff)
    for info in store.iter_sessions(prefix="c", page_size=10):
        assert_type(info, SessionInfo)
    with store as same:
        assert_type(same, SessionStore)
    full = adapt_store(OwnStore())
    full.add_user_message("chat", "Hello")


async def values_later(store: AsyncSessionStore) -> None:
    """The same types, awaited."""
    assert_type(await store.add_messages("chat", [SessionMessage(role="user", content="Hello")]), bool)
    assert_type(await store.get_messages("chat"), list[SessionMessage])
    assert_type(await store.diff("chat", "fork"), SessionDiff)
    async for info in store.iter_sessions():
        assert_type(info, SessionInfo)
    async with store as same:
        assert_type(same, AsyncSessionStore)
