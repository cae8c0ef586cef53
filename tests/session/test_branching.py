"""The tree: forks, snapshots, reverts and their undoing, parents and children, differences."""

from __future__ import annotations

from typing import Any

import pytest

from tests.session.conftest import say, texts
from turnlog.backends.memory import MemoryBackend
from turnlog.errors import (
    ConflictError,
    InvalidMessageError,
    InvalidSessionIdError,
    MessageIndexError,
    NothingToUndoError,
    SessionNotFoundError,
    SnapshotNotFoundError,
)
from turnlog.heads import Reference
from turnlog.session import SessionStore
from turnlog.store.drive import drive


class TestForks:
    def test_a_fork_holds_what_came_before_the_index(self, store: SessionStore) -> None:
        store.add_messages("p", say(*"abcd"))
        for index, expected in ((None, "abcd"), (0, "a"), (2, "abc"), (3, "abcd")):
            child = store.fork_session("p", index)
            assert "".join(texts(store, child)) == expected
            assert store.get_parent(child) == "p"
            data = store.get_session(child)
            assert (data.parent_id, data.forked_from_message_id) == ("p", str(len(expected) - 1))
        assert texts(store, "p") == list("abcd")

    def test_each_goes_its_own_way(self, store: SessionStore) -> None:
        store.add_messages("p", say("a", "b"))
        store.fork_session("p", new_session_id="c")
        store.add_message("p", "user", "p")
        store.add_message("c", "user", "c")
        store.fork_session("c", 0, new_session_id="d")
        store.revert_to_message("p", 0)
        assert (texts(store, "p"), texts(store, "c"), texts(store, "d")) == (["a"], ["a", "b", "c"], ["a"])

    def test_forks_outlive_their_parents(self, store: SessionStore) -> None:
        store.add_messages("p", say("a", "b"))
        store.fork_session("p", new_session_id="c")
        store.add_message("c", "user", "c")
        store.fork_session("c", 1, new_session_id="d")
        store.fork_session("c", new_session_id="e")
        store.clear_session("p")
        assert texts(store, "c") == ["a", "b", "c"]
        store.delete_session("p")
        store.delete_session("c")
        store.sweep(compact=True)
        assert (texts(store, "d"), texts(store, "e")) == (["a", "b"], ["a", "b", "c"])
        assert store.get_parent("d") is None
        store.add_messages("p", say("new"))
        assert store.get_parent("c") is None
        assert store.get_children("p") == []

    def test_ids_and_messages_of_a_fork_are_those_of_the_parent(self, store: SessionStore) -> None:
        store.add_messages("p", [{"role": "user", "content": "a", "id": "m1", "metadata": {"k": 1}, "timestamp": 5.5, "x": 2}])
        child = store.fork_session("p")
        assert store.get_messages(child) == store.get_messages("p")

    def test_titles(self, store: SessionStore) -> None:
        store.add_messages("p", say("a"))
        child = store.fork_session("p")
        assert store.get_session(child).title == "Fork of p"
        assert store.get_session(store.fork_session(child)).title == "Fork of p"
        store.set_title("p", "Main")
        assert store.get_session(store.fork_session("p")).title == "Fork of Main"
        assert store.get_session(store.fork_session("p", title="Mine")).title == "Mine"

    def test_what_a_fork_takes_along(self, store: SessionStore) -> None:
        store.add_messages("p", say("a", "b"))
        store.set_agent_info("p", "agent", "user")
        store.update_session_metadata("p", model="m")
        store.share_session("p")
        store.create_snapshot("p")
        store.revert_to_message("p", 0)
        child = store.fork_session("p")
        data = store.get_session(child)
        assert (data.agent_name, data.user_id, data.metadata["model"], data.is_shared) == ("agent", "user", "m", False)
        assert store.get_snapshots(child) == []
        with pytest.raises(NothingToUndoError):
            store.undo_revert(child)
        store.update_session_metadata(child, model="other")
        assert store.get_session("p").metadata["model"] == "m"

    @pytest.mark.parametrize("index", [-1, 2, 99, True, "0", 0.0])
    def test_no_such_index(self, store: SessionStore, index: Any) -> None:
        store.add_messages("p", say("a", "b"))
        with pytest.raises(MessageIndexError) as error:
            store.fork_session("p", index)
        assert isinstance(error.value, ValueError)
        assert (error.value.count, error.value.session_id) == (2, "p")  # type: ignore[attr-defined]
        with pytest.raises(MessageIndexError):
            store.revert_to_message("p", index)
        assert store.get_children("p") == []

    def test_an_empty_session_can_be_forked_whole(self, store: SessionStore) -> None:
        store.create_session("p")
        assert texts(store, store.fork_session("p")) == []
        with pytest.raises(MessageIndexError):
            store.fork_session("p", 0)

    def test_a_taken_id_is_refused(self, store: SessionStore) -> None:
        store.add_messages("p", say("a"))
        store.add_messages("q", say("b"))
        for taken in ("q", "p"):
            with pytest.raises(ConflictError):
                store.fork_session("p", new_session_id=taken)
        assert (texts(store, "q"), texts(store, "p")) == (["b"], ["a"])
        store.delete_session("p")
        assert store.sweep().references_dropped == 0

    def test_a_bad_id_is_refused(self, store: SessionStore) -> None:
        store.add_messages("p", say("a"))
        with pytest.raises(InvalidSessionIdError):
            store.fork_session("p", new_session_id="")


@pytest.mark.parametrize(
    "verb",
    [
        lambda store: store.fork_session("none"),
        lambda store: store.create_snapshot("none"),
        lambda store: store.revert_to_message("none", 0),
        lambda store: store.revert_to_snapshot("none", "x"),
        lambda store: store.delete_snapshot("none", "x"),
        lambda store: store.undo_revert("none"),
        lambda store: store.get_session_tree("none"),
        lambda store: store.diff("none", "none"),
        lambda store: store.create_session("c", parent_id="none"),
    ],
)
def test_a_session_that_is_not_there(store: SessionStore, verb: Any) -> None:
    with pytest.raises(SessionNotFoundError) as error:
        verb(store)
    assert error.value.session_id == "none"
    assert store.get_snapshots("none") == []
    assert store.get_children("none") == []
    assert store.get_parent("none") is None
    assert store.get_ancestors("none") == []
    assert store.list_sessions() == []


class TestSnapshots:
    def test_a_snapshot_is_a_place_to_go_back_to(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        first = store.create_snapshot("s", "first", {"k": [1]})
        store.add_messages("s", say("c"))
        second = store.create_snapshot("s")
        found = store.get_snapshots("s")
        assert [(one.id, one.session_id, one.label, one.message_index, one.metadata) for one in found] == [
            (first, "s", "first", 1, {"k": [1]}),
            (second, "s", None, 2, {}),
        ]
        assert store.revert_to_snapshot("s", first) is True
        assert texts(store, "s") == ["a", "b"]
        assert store.revert_to_snapshot("s", second) is True
        assert texts(store, "s") == ["a", "b", "c"]
        assert [one.id for one in store.get_extended_session("s").snapshots] == [first, second]

    def test_a_snapshot_of_nothing(self, store: SessionStore) -> None:
        store.create_session("s")
        empty = store.create_snapshot("s")
        store.add_messages("s", say("a"))
        assert store.get_snapshots("s")[0].message_index == -1
        store.revert_to_snapshot("s", empty)
        assert texts(store, "s") == []

    def test_snapshots_on_a_line_that_was_left(self, store: SessionStore) -> None:
        store.add_messages("s", say(*"abc"))
        left = store.create_snapshot("s")
        store.revert_to_message("s", 0)
        store.add_messages("s", say("x", "y"))
        right = store.create_snapshot("s")
        store.revert_to_snapshot("s", left)
        assert texts(store, "s") == ["a", "b", "c"]
        store.revert_to_snapshot("s", right)
        assert texts(store, "s") == ["a", "x", "y"]

    def test_forgotten_and_unknown_ones(self, store: SessionStore) -> None:
        store.add_messages("s", say("a"))
        snapshot = store.create_snapshot("s")
        assert store.delete_snapshot("s", snapshot) is True
        for name in (snapshot, "none"):
            for verb in (store.revert_to_snapshot, store.delete_snapshot):
                with pytest.raises(SnapshotNotFoundError) as error:
                    verb("s", name)
                assert error.value.snapshot_id == name  # type: ignore[attr-defined]
        assert texts(store, "s") == ["a"]

    def test_they_end_with_what_they_name(self, store: SessionStore) -> None:
        store.add_messages("s", say("a"))
        snapshot = store.create_snapshot("s")
        store.clear_session("s")
        assert store.get_snapshots("s") == []
        with pytest.raises(SnapshotNotFoundError):
            store.revert_to_snapshot("s", snapshot)

    def test_notes_must_be_json(self, store: SessionStore) -> None:
        store.add_messages("s", say("a"))
        with pytest.raises(InvalidMessageError):
            store.create_snapshot("s", metadata={"k": {1}})
        assert store.get_snapshots("s") == []


class TestReverts:
    def test_a_revert_can_be_undone(self, store: SessionStore) -> None:
        store.add_messages("s", say(*"abcd"))
        assert store.revert_to_message("s", 2) is True
        assert store.revert_to_message("s", 0) is True
        assert texts(store, "s") == ["a"]
        assert store.undo_revert("s") is True
        assert texts(store, "s") == ["a", "b", "c"]
        assert store.undo_revert("s") is True
        assert texts(store, "s") == list("abcd")
        with pytest.raises(NothingToUndoError):
            store.undo_revert("s")

    def test_what_was_added_since_comes_back_by_undoing_once_more(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        store.revert_to_message("s", 0)
        store.add_messages("s", say("x"))
        for expected in ("ab", "ax", "ab"):
            store.undo_revert("s")
            assert "".join(texts(store, "s")) == expected

    def test_a_revert_to_where_it_stands_is_nothing(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        snapshot = store.create_snapshot("s")
        store.revert_to_message("s", 0)
        store.undo_revert("s")
        revision = store.get_revision("s")
        assert store.revert_to_snapshot("s", snapshot) is True
        assert store.revert_to_message("s", 1) is True
        assert store.get_revision("s") == revision
        with pytest.raises(NothingToUndoError):
            store.undo_revert("s")

    def test_adding_goes_on_behind_a_revert(self, store: SessionStore) -> None:
        store.add_messages("s", say(*"abc"))
        store.revert_to_message("s", 1)
        store.add_messages("s", say("x", "y"))
        assert texts(store, "s") == ["a", "b", "x", "y"]
        assert [message["content"] for message in store.get_chat_history("s", 3)] == ["b", "x", "y"]
        assert store.list_sessions()[0]["message_count"] == 4

    def test_clearing_leaves_nothing_to_undo(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        store.revert_to_message("s", 0)
        store.clear_session("s")
        with pytest.raises(NothingToUndoError):
            store.undo_revert("s")


class TestTree:
    def test_lines_up_and_down(self, store: SessionStore) -> None:
        store.create_session("a", title="Top")
        store.add_messages("a", say("x"))
        store.fork_session("a", new_session_id="b")
        store.create_session("c", parent_id="a")
        store.fork_session("b", new_session_id="d")
        assert store.get_children("a") == ["b", "c"]
        assert store.get_ancestors("d") == ["b", "a"]
        assert store.get_parent("c") == "a"
        assert store.get_session_tree("a") == {
            "session_id": "a",
            "title": "Top",
            "message_count": 1,
            "children": [
                {
                    "session_id": "b",
                    "title": "Fork of Top",
                    "message_count": 1,
                    "children": [{"session_id": "d", "title": "Fork of Top", "message_count": 1, "children": []}],
                },
                {"session_id": "c", "title": None, "message_count": 0, "children": []},
            ],
        }
        assert store.get_extended_session("a").children_ids == ["b", "c"]
        assert store.get_extended_session("none").messages == []

    def test_a_middle_that_is_gone(self, store: SessionStore) -> None:
        store.add_messages("a", say("x"))
        store.fork_session("a", new_session_id="b")
        store.fork_session("b", new_session_id="c")
        store.delete_session("b")
        assert store.get_ancestors("c") == []
        assert store.get_session_tree("a")["children"] == []

    def test_creating(self, store: SessionStore) -> None:
        name = store.create_session(title="T", agent_name="A", metadata={"k": 1})
        data = store.get_session(name)
        assert (data.title, data.agent_name, data.metadata) == ("T", "A", {"k": 1})
        assert store.session_exists(name)
        store.add_messages(name, say("a"))
        assert store.create_session(name, title="U") == name
        data = store.get_session(name)
        assert (data.title, data.agent_name, data.metadata, len(data.messages)) == ("U", "A", {"k": 1}, 1)
        assert store.create_session(name) == name
        with pytest.raises(InvalidSessionIdError):
            store.create_session("")
        with pytest.raises(InvalidMessageError):
            store.create_session("x", metadata={"k": b""})

    def test_no_session_is_above_itself(self, store: SessionStore) -> None:
        store.add_messages("a", say("x"))
        store.create_session("b", parent_id="a")
        store.create_session("c", parent_id="b")
        for parent in ("a", "b", "c"):
            with pytest.raises(ConflictError):
                store.create_session("a", parent_id=parent)
        assert store.get_ancestors("c") == ["b", "a"]


class TestDiff:
    def test_what_is_common_and_what_is_not(self, store: SessionStore) -> None:
        store.add_messages("p", say(*"abc"))
        store.fork_session("p", 1, new_session_id="c")
        store.fork_session("p", 2, new_session_id="d")
        store.add_messages("c", say("c1"))
        store.add_messages("d", say("d1", "d2"))
        found = store.diff("c", "d")
        assert (found.ancestor, found.common) == ("p", 2)
        assert [message.content for message in found.left] == ["c1"]
        assert [message.content for message in found.right] == ["c", "d1", "d2"]
        up = store.diff("c", "p")
        assert (up.ancestor, up.common, len(up.left), len(up.right)) == ("p", 2, 1, 1)
        same = store.diff("p", "p")
        assert (same.ancestor, same.common, same.left, same.right) == ("p", 3, [], [])

    def test_strangers_have_nothing_in_common(self, store: SessionStore) -> None:
        store.add_messages("a", say("x"))
        store.add_messages("b", say("x"))
        found = store.diff("a", "b")
        assert (found.ancestor, found.common, len(found.left), len(found.right)) == (None, 0, 1, 1)

    def test_the_parent_may_be_gone(self, store: SessionStore) -> None:
        store.add_messages("p", say(*"abc"))
        store.fork_session("p", new_session_id="c")
        store.fork_session("p", 1, new_session_id="d")
        store.delete_session("p")
        found = store.diff("c", "d")
        assert (found.ancestor, found.common, len(found.left), found.right) == (None, 2, 1, [])


def test_a_sweep_beside_a_delete_leaves_no_mark() -> None:
    class Late(MemoryBackend):
        async def referenced_runs(self) -> list[Reference]:
            claims = await super().referenced_runs()
            other.delete_session("c")
            return claims

    backend = Late()
    store, other = SessionStore(backend), SessionStore(backend)
    store.add_message("p", "user", "x")
    store.fork_session("p", new_session_id="c")
    assert store.sweep().references_dropped == 0
    assert drive(backend.marked_runs()) == []
