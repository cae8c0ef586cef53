"""What the public page on the five-method contract says, sentence by sentence, with the import roots changed."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import KINDS, say
from turnlog.session import (
    DefaultSessionStore,
    HierarchicalSessionStore,
    InMemorySessionStore,
    SessionStore,
    SessionStoreProtocol,
    SqliteSessionStore,
    adapt_store,
    get_default_session_store,
)
from turnlog.testing import verify_protocol_store

FIVE = ("add_message", "get_chat_history", "clear_session", "delete_session", "session_exists")


class RedisSessionStore:
    """The page's first custom store: it only answers."""

    def add_message(self, session_id, role, content, metadata=None):  # type: ignore[no-untyped-def]
        return True

    def get_chat_history(self, session_id, max_messages=None):  # type: ignore[no-untyped-def]
        return [{"role": "user", "content": "Hi"}]

    def clear_session(self, session_id):  # type: ignore[no-untyped-def]
        return True

    def delete_session(self, session_id):  # type: ignore[no-untyped-def]
        return True

    def session_exists(self, session_id):  # type: ignore[no-untyped-def]
        return False


class PageStore:
    """The page's in-memory store for tests, in other words."""

    def __init__(self) -> None:
        self.sessions: dict[str, list[dict[str, Any]]] = {}

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        self.sessions.setdefault(session_id, []).append({"role": role, "content": content})
        return True

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        messages = self.sessions.get(session_id, [])
        return messages[-max_messages:] if max_messages else list(messages)

    def clear_session(self, session_id: str) -> bool:
        self.sessions[session_id] = []
        return True

    def delete_session(self, session_id: str) -> bool:
        self.sessions.pop(session_id, None)
        return True

    def session_exists(self, session_id: str) -> bool:
        return session_id in self.sessions


def built_in(kind: str, place: Path) -> SessionStore:
    stores: dict[str, Any] = {"memory": InMemorySessionStore, "sqlite": SqliteSessionStore, "json": DefaultSessionStore}
    return stores[kind]() if kind == "memory" else stores[kind](place / "store")  # type: ignore[no-any-return]


def test_any_class_with_the_five_methods_is_a_store() -> None:
    assert isinstance(RedisSessionStore(), SessionStoreProtocol)
    assert isinstance(PageStore(), SessionStoreProtocol)
    assert adapt_store(RedisSessionStore()).get_chat_history("any") == [{"role": "user", "content": "Hi"}]
    assert verify_protocol_store(PageStore).passed


@pytest.mark.parametrize("missing", FIVE)
def test_exactly_five_are_required(missing: str) -> None:
    methods = {name: vars(PageStore)[name] for name in (*FIVE, "__init__") if name != missing}
    assert not isinstance(type("Four", (), methods)(), SessionStoreProtocol)
    assert isinstance(type("Five", (), {**methods, missing: vars(PageStore)[missing]})(), SessionStoreProtocol)


@pytest.mark.parametrize("kind", [*KINDS, "page"])
def test_what_each_method_is_for(kind: str, tmp_path: Path) -> None:
    store: SessionStoreProtocol = PageStore() if kind == "page" else built_in(kind, tmp_path)
    assert isinstance(store, SessionStoreProtocol)
    assert store.session_exists("test-1") is False
    assert store.add_message("test-1", "user", "Hello") is True
    assert store.get_chat_history("test-1") == [{"role": "user", "content": "Hello"}]
    assert store.add_message("test-1", "assistant", "Hi", {"model": "m"}) is True
    assert store.get_chat_history("test-1", max_messages=1) == [{"role": "assistant", "content": "Hi"}]
    assert store.session_exists("test-1") is True
    assert store.clear_session("test-1") is True
    assert store.get_chat_history("test-1") == []
    assert store.session_exists("test-1") is True
    assert store.delete_session("test-1") is True
    assert store.session_exists("test-1") is False


def test_clearing_keeps_the_metadata(tmp_path: Path) -> None:
    for kind in KINDS:
        store = built_in(kind, tmp_path / kind)
        store.add_message("s", "user", "x")
        store.update_session_metadata("s", model="m")
        store.clear_session("s")
        assert store.get_session("s").metadata["model"] == "m"


def test_sessions_are_files_at_home(home: Path) -> None:
    store = get_default_session_store()
    store.add_message("chat-123", "user", "Hello!")
    path = home / ".praisonai" / "sessions" / "chat-123.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["session_id"] == "chat-123"
    assert [(message["role"], message["content"]) for message in document["messages"]] == [("user", "Hello!")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_custom_place_and_a_limit(tmp_path: Path) -> None:
    store = DefaultSessionStore(session_dir=os.fspath(tmp_path / "custom" / "path"), max_messages=200)
    for number in range(300):
        store.add_message("s", "user", str(number))
    assert (tmp_path / "custom" / "path" / "s.json").is_file()
    assert len(store.get_chat_history("s")) <= 200
    assert store.get_chat_history("s")[-1] == {"role": "user", "content": "299"}
    assert len(store.get_messages("s")) <= 250


def test_forking_at_message_five() -> None:
    store = HierarchicalSessionStore()
    assert isinstance(store, DefaultSessionStore)
    parent = store.create_session(title="Main")
    store.add_messages(parent, say("one", "two", "three", "four", "five", "six", "seven"))
    child = store.fork_session(parent, from_message_index=5)
    assert [message["content"] for message in store.get_chat_history(child)] == ["one", "two", "three", "four", "five", "six"]
    assert store.get_parent(child) == parent
    snapshot = store.create_snapshot(child, label="before")
    store.add_message(child, "user", "more")
    assert store.revert_to_snapshot(child, snapshot) is True
    assert len(store.get_chat_history(child)) == 6
    assert store.revert_to_message(child, 2) is True
    assert len(store.get_chat_history(child)) == 3


def test_the_key_of_a_bots_user_is_a_plain_file_name(home: Path) -> None:
    get_default_session_store().add_message("bot_telegram_12345", "user", "Hello")
    assert (home / ".praisonai" / "sessions" / "bot_telegram_12345.json").is_file()
