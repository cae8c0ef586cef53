"""Session: a state that is right under races, agents that share one conversation, and what is refused."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from turnlog import Session
from turnlog.errors import InvalidMessageError, UnsupportedVerbError
from turnlog.session import DefaultSessionStore, SessionStore, SqliteSessionStore


@pytest.fixture(params=["json", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SessionStore:
    return DefaultSessionStore(tmp_path / "json") if request.param == "json" else SqliteSessionStore(tmp_path / "sessions.sqlite")


def test_increments_of_racing_threads_all_count(store: SessionStore) -> None:
    def count() -> None:
        session = Session("s", memory={"store": store})
        for _ in range(20):
            session.increment_state("n")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Session("s", memory={"store": store}).get_state("n") == 80


def test_the_state_is_set_replaced_and_kept_apart(store: SessionStore) -> None:
    session = Session("s", memory={"store": store})
    assert session.restore_state() == {}
    session.set_state("session_id", "other")
    session.set_state("type", [1, None])
    assert Session("s", memory={"store": store}).restore_state() == {"session_id": "other", "type": [1, None]}
    assert Session("other", memory={"store": store}).restore_state() == {}
    session.save_state({"a": 1})
    assert session.restore_state() == {"a": 1}
    with pytest.raises(InvalidMessageError, match="nan"):
        session.set_state("a", float("nan"))
    with pytest.raises(InvalidMessageError, match="cannot be incremented"):
        session.save_state({"a": "x"}) or session.increment_state("a")
    assert session.restore_state() == {"a": "x"}


def test_agents_share_the_conversation(store: SessionStore) -> None:
    session = Session("s", "u", memory={"store": store})
    session.Agent("Researcher", llm="test").chat("hello")
    assert len(session.Agent("Writer", llm="test").chat_history) == 2
    assert session.get_context()["message_count"] == 2
    info = store.get_session_info("s")
    assert info is not None
    assert (info.message_count, info.user_id) == (2, "u")
    assert store.get_session_info("none") is None


def test_what_is_refused() -> None:
    with pytest.raises(UnsupportedVerbError, match="knowledge"):
        Session("s", knowledge={"x": 1})
    with pytest.raises(UnsupportedVerbError, match="behind HTTP"):
        Session("s", agent_url="127.0.0.1:1").restore_state()
    with pytest.raises(ConnectionError, match="did not answer"):
        Session("s", agent_url="127.0.0.1:1").chat("hello")
