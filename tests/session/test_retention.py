"""max_messages: whole turns go, oldest first; forks keep theirs; indexes count what is kept; a list holds at most a quarter more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.session.conftest import Opened, say, texts
from turnlog.errors import MessageIndexError, NothingToUndoError, SnapshotNotFoundError
from turnlog.session import InMemorySessionStore, SessionStore

SLACK = 1.25


@pytest.fixture
def store(opened: Opened) -> SessionStore:
    """A store that keeps eight messages."""
    return opened(8)


def fill(store: SessionStore, session: str, start: int, stop: int) -> None:
    """Turns of two messages."""
    for number in range(start, stop):
        store.add_messages(session, say(f"u{number}", f"a{number}"))


@pytest.mark.parametrize("number", [0, -1, 1.5, "8"])
def test_a_limit_is_a_number_of_messages(number: Any) -> None:
    with pytest.raises(MessageIndexError):
        InMemorySessionStore(number)


def test_a_list_never_holds_more_than_a_quarter_above(store: SessionStore) -> None:
    assert store.max_messages == 8
    for number in range(60):
        store.add_message("s", "assistant" if number % 2 else "user", str(number))
        kept = texts(store, "s")
        assert len(kept) <= 8 * SLACK
        assert kept == [str(place) for place in range(number + 1 - len(kept), number + 1)]
        assert len(kept) >= min(number + 1, 7)
        assert int(kept[0]) % 2 == 0, "the list begins in the middle of a turn"
        assert len(store.get_chat_history("s")) <= 8
        assert store.list_sessions()[0]["message_count"] == len(kept)


def test_whole_turns_go(store: SessionStore) -> None:
    turn = [*say("u", "a"), {"role": "assistant", "content": "b"}, {"role": "assistant", "content": "c"}]
    for _ in range(3):
        store.add_messages("s", turn)
    assert texts(store, "s") == ["u", "a", "b", "c"] * 2


def test_a_newest_turn_that_is_longer_stays_whole(store: SessionStore) -> None:
    long = [{"role": "user", "content": "u"}, *({"role": "assistant", "content": str(number)} for number in range(20))]
    fill(store, "s", 0, 3)
    store.add_messages("s", long)
    assert len(texts(store, "s")) == 21
    store.add_messages("s", say("next"))
    assert texts(store, "s") == ["next"]


def test_tool_turns_go_whole(store: SessionStore) -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    turn: list[dict[str, Any]] = [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "r", "tool_call_id": "c"},
    ]
    for _ in range(7):
        store.add_messages("s", turn)
        stored = [message.record for message in store.get_messages("s")]
        assert stored == turn * (len(stored) // 3)
        assert stored[0] == turn[0]


def test_first_batches_and_replacements_are_cut_too(store: SessionStore) -> None:
    many = say(*map(str, range(50)))
    store.add_messages("new", many)
    assert texts(store, "new") == [str(number) for number in range(42, 50)]
    store.set_chat_history("new", many[:30])
    assert texts(store, "new") == [str(number) for number in range(22, 30)]


def test_indexes_count_what_is_kept(store: SessionStore) -> None:
    fill(store, "s", 0, 6)
    kept = texts(store, "s")
    assert len(kept) == 8
    assert store.get_messages("s", 1, 2)[0].content == kept[1]
    store.revert_to_message("s", 5)
    assert texts(store, "s") == kept[:6]
    child = store.fork_session("s", 3)
    assert texts(store, child) == kept[:4]
    assert store.window("s", 0, window=0)[0]["content"] == kept[0]
    with pytest.raises(MessageIndexError):
        store.revert_to_message("s", 6)


def test_snapshots_before_the_cut_go_and_later_ones_count_from_it(store: SessionStore) -> None:
    fill(store, "s", 0, 1)
    early = store.create_snapshot("s", "early")
    fill(store, "s", 1, 5)
    late = store.create_snapshot("s", "late")
    assert len(texts(store, "s")) == 10
    fill(store, "s", 5, 6)
    assert [(one.id, one.message_index) for one in store.get_snapshots("s")] == [(late, 5)]
    with pytest.raises(SnapshotNotFoundError):
        store.revert_to_snapshot("s", early)
    store.revert_to_snapshot("s", late)
    assert texts(store, "s") == [text for number in range(2, 5) for text in (f"u{number}", f"a{number}")]


def test_undo_points_before_the_cut_go(store: SessionStore) -> None:
    fill(store, "s", 0, 4)
    store.revert_to_message("s", 1)
    fill(store, "s", 10, 15)
    assert texts(store, "s")[0] == "u11"
    with pytest.raises(NothingToUndoError):
        store.undo_revert("s")
    store.revert_to_message("s", 3)
    store.undo_revert("s")
    assert len(texts(store, "s")) == 8


def test_forks_keep_what_they_hold(store: SessionStore) -> None:
    fill(store, "p", 0, 4)
    whole = texts(store, "p")
    store.fork_session("p", new_session_id="c")
    store.fork_session("p", 1, new_session_id="d")
    fill(store, "p", 4, 12)
    store.sweep(compact=True)
    assert texts(store, "c") == whole
    assert texts(store, "d") == whole[:2]
    fill(store, "c", 20, 22)
    assert texts(store, "c")[-2:] == ["u21", "a21"]
    store.delete_session("p")
    store.sweep(compact=True)
    assert texts(store, "d") == whole[:2]


def test_a_checkpoint_moves_with_the_cut(store: SessionStore) -> None:
    fill(store, "s", 0, 3)
    store.append_compaction_checkpoint("s", "sum")
    fill(store, "s", 3, 6)
    assert [message["content"] for message in store.get_working_history("s")] == ["sum", "u3", "a3", "u4", "a4", "u5", "a5"]
    fill(store, "s", 6, 10)
    assert store.get_working_history("s")[1:] == store.get_chat_history("s")


def test_undoing_a_revert_brings_a_checkpoint_back_to_its_place(store: SessionStore) -> None:
    fill(store, "s", 0, 3)
    store.append_compaction_checkpoint("s", "sum")
    fill(store, "s", 3, 6)
    store.revert_to_message("s", 1)
    store.undo_revert("s")
    assert [message["content"] for message in store.get_working_history("s", 3)] == ["sum", "u5", "a5"]
    assert [message["content"] for message in store.get_working_history("s")] == ["sum", "u3", "a3", "u4", "a4", "u5", "a5"]


def test_a_retry_of_what_was_cut_may_be_new_but_never_doubles_what_is_there(store: SessionStore) -> None:
    for number in range(30):
        store.add_message("s", "user", str(number), message_id=f"m{number}")
    for number in range(29, 22, -1):
        store.add_message("s", "user", str(number), message_id=f"m{number}")
    assert texts(store, "s") == [str(number) for number in range(30 - len(texts(store, "s")), 30)]


def test_an_append_that_meets_a_delete_is_stored_all_the_same(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, "s", 0, 5)
    core = store._core
    retain = type(core)._retain

    async def too_late(self: Any, session_id: str, limit: int) -> None:
        await self.delete_session(session_id)
        await retain(self, session_id, limit)

    monkeypatch.setattr(type(core), "_retain", too_late)
    assert store.add_message("s", "user", "x") is True
    assert not store.session_exists("s")
