"""Adding messages: single and in turns, revisions, retries, refusals, replacing, clearing, deleting."""

from __future__ import annotations

from typing import Any

import pytest

from tests.session.conftest import say, texts
from turnlog.errors import ConflictError, InvalidMessageError, InvalidSessionIdError, MessageTooLargeError
from turnlog.session import SessionMessage, SessionStore

CALLS = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


class TestOneMessage:
    def test_plain_text_has_no_further_keys(self, store: SessionStore) -> None:
        assert store.add_message("s", "user", "Hello") is True
        assert store.get_chat_history("s") == [{"role": "user", "content": "Hello"}]

    def test_every_part_is_kept(self, store: SessionStore) -> None:
        assert store.add_message("s", "assistant", None, {"k": 1}, CALLS, message_id="m1") is True
        assert store.add_message("s", "tool", "done", tool_call_id="c1") is True
        assert store.get_chat_history("s") == [
            {"role": "assistant", "content": None, "tool_calls": CALLS},
            {"role": "tool", "content": "done", "tool_call_id": "c1"},
        ]
        first, second = store.get_messages("s")
        assert (first.id, first.metadata, first.tool_calls) == ("m1", {"k": 1}, CALLS)
        assert (second.metadata, second.tool_call_id) == ({}, "c1")

    def test_short_forms(self, store: SessionStore) -> None:
        assert store.add_user_message("s", "a", {"x": 1})
        assert store.add_assistant_message("s", [{"type": "text", "text": "b"}])
        assert [(m.role, m.content, m.metadata) for m in store.get_messages("s")] == [
            ("user", "a", {"x": 1}),
            ("assistant", [{"type": "text", "text": "b"}], {}),
        ]

    def test_no_tool_calls_is_no_key(self, store: SessionStore) -> None:
        store.add_message("s", "assistant", "x", tool_calls=[])
        assert store.get_chat_history("s") == [{"role": "assistant", "content": "x"}]

    @pytest.mark.parametrize("content", ["\x00", "\ud800", "e\u0301\U0001f600", "", '{"turnlog":1,', "\u2028\r\n", [1, None, {"a": -0.0}]])
    def test_content_comes_back(self, store: SessionStore, content: Any) -> None:
        store.add_message("s", "user", content)
        assert store.get_messages("s")[0].content == content

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            (("", "user", "x"), InvalidSessionIdError),
            ((7, "user", "x"), InvalidSessionIdError),
            (("s", "", "x"), InvalidMessageError),
            (("s", None, "x"), InvalidMessageError),
            (("s", "user", b"x"), InvalidMessageError),
            (("s", "user", "x", ["no dict"]), InvalidMessageError),
            (("s", "user", "x" * (12 * 1024 * 1024)), MessageTooLargeError),
        ],
        ids=lambda value: getattr(value, "__name__", "x"),
    )
    def test_a_refusal_writes_nothing(self, store: SessionStore, arguments: Any, error: type[Exception]) -> None:
        with pytest.raises(error):
            store.add_message(*arguments)
        assert store.list_sessions() == []


class TestTurns:
    def test_a_turn_is_stored_whole(self, store: SessionStore) -> None:
        turn = [
            {"role": "user", "content": "a", "id": "m1", "timestamp": 5.5, "metadata": {"k": [1]}},
            SessionMessage("assistant", "b", id="m2"),
            {"type": "reasoning", "id": "rs_1", "summary": []},
        ]
        assert store.add_messages("s", turn) is True
        first, second, third = store.get_messages("s")
        assert (first.id, first.timestamp, first.metadata, first.record) == ("m1", 5.5, {"k": [1]}, {"role": "user", "content": "a"})
        assert (second.id, second.record) == ("m2", {"role": "assistant", "content": "b"})
        assert third.record == {"type": "reasoning", "id": "rs_1", "summary": []}

    def test_one_bad_message_refuses_the_turn(self, store: SessionStore) -> None:
        with pytest.raises(InvalidMessageError):
            store.add_messages("s", [*say("a"), {"role": "user", "content": b""}])
        with pytest.raises(InvalidMessageError, match="same id"):
            store.add_messages("s", say("a", "b", id="m"))
        assert not store.session_exists("s")

    @pytest.mark.parametrize("messages", ["text", {"role": "user", "content": "x"}, SessionMessage("user", "x")])
    def test_one_message_is_not_a_turn(self, store: SessionStore, messages: Any) -> None:
        with pytest.raises(InvalidMessageError, match="put it in a list"):
            store.add_messages("s", messages)

    def test_an_empty_turn_is_nothing(self, store: SessionStore) -> None:
        assert store.add_messages("s", []) is True
        assert not store.session_exists("s")


class TestRevisions:
    def test_every_change_of_the_history_gives_a_new_one(self, store: SessionStore) -> None:
        seen = [store.get_revision("s")]
        assert seen == [""]

        def changed() -> None:
            seen.append(store.get_revision("s"))
            assert len(set(seen)) == len(seen)
            assert store.get_session("s").revision == seen[-1]

        for text in ("a", "b", "c"):
            store.add_message("s", "user", text)
            changed()
        snapshot = store.create_snapshot("s")
        store.revert_to_message("s", 0)
        changed()
        store.undo_revert("s")
        changed()
        store.revert_to_message("s", 1)
        changed()
        store.revert_to_snapshot("s", snapshot)
        changed()
        store.set_chat_history("s", say("a", "b", "c"))
        changed()
        store.clear_session("s")
        changed()
        store.clear_session("s")
        changed()
        store.delete_session("s")
        assert store.get_revision("s") == ""
        store.add_message("s", "user", "a")
        changed()

    def test_what_changes_nothing_keeps_it(self, store: SessionStore) -> None:
        store.add_message("s", "user", "a", message_id="m")
        revision = store.get_revision("s")
        store.add_message("s", "user", "a", message_id="m")
        store.add_messages("s", [])
        store.create_snapshot("s")
        store.revert_to_message("s", 0)
        store.get_chat_history("s")
        store.fork_session("s")
        assert store.get_revision("s") == revision

    def test_only_the_expected_revision_wins(self, store: SessionStore) -> None:
        assert store.add_messages("s", say("a"), expect_revision="")
        first = store.get_revision("s")
        assert store.add_messages("s", say("b"), expect_revision=first)
        with pytest.raises(ConflictError) as lost:
            store.add_messages("s", say("c"), expect_revision=first)
        assert (lost.value.expected, lost.value.actual) == (first, store.get_revision("s"))  # type: ignore[attr-defined]
        with pytest.raises(ConflictError):
            store.add_messages("s", say("c"), expect_revision="")
        assert texts(store, "s") == ["a", "b"]

    def test_a_session_that_is_gone_is_at_no_revision(self, store: SessionStore) -> None:
        store.add_message("s", "user", "a")
        revision = store.get_revision("s")
        store.delete_session("s")
        for _ in range(2):
            with pytest.raises(ConflictError):
                store.add_messages("s", say("b"), expect_revision=revision)
            assert not store.session_exists("s")
            with pytest.raises(ConflictError):
                store.add_messages("s", say("b"), expect_revision="nonsense")
        assert store.add_messages("s", say("b"), expect_revision="")
        with pytest.raises(ConflictError):
            store.add_messages("s", say("c"), expect_revision=revision)

    def test_known_ids_are_success_at_any_revision(self, store: SessionStore) -> None:
        turn = [{**message, "id": f"m{place}"} for place, message in enumerate(say("a", "b"))]
        revision = store.get_revision("s")
        for expect in (revision, revision, "stale", None):
            assert store.add_messages("s", turn, expect_revision=expect)
        assert texts(store, "s") == ["a", "b"]


class TestRetries:
    def test_the_same_id_with_the_same_content_is_stored_once(self, store: SessionStore) -> None:
        for _ in range(3):
            assert store.add_message("s", "user", "a", {"k": 1}, message_id="m")
        assert texts(store, "s") == ["a"]

    @pytest.mark.parametrize(("content", "metadata"), [("b", {"k": 1}), ("a", {"k": 2}), ("a", None)])
    def test_the_same_id_with_other_content_is_a_conflict(self, store: SessionStore, content: str, metadata: Any) -> None:
        store.add_message("s", "user", "a", {"k": 1}, message_id="m")
        with pytest.raises(ConflictError):
            store.add_message("s", "user", content, metadata, message_id="m")
        assert texts(store, "s") == ["a"]

    def test_a_turn_known_in_part_is_a_conflict(self, store: SessionStore) -> None:
        turn = [{**message, "id": f"m{place}"} for place, message in enumerate(say("a", "b", "c"))]
        store.add_messages("s", turn[:2])
        with pytest.raises(ConflictError):
            store.add_messages("s", turn)
        assert texts(store, "s") == ["a", "b"]

    def test_reverted_ids_are_known_and_cleared_ones_are_not(self, store: SessionStore) -> None:
        store.add_message("s", "user", "a", message_id="m1")
        store.add_message("s", "user", "b", message_id="m2")
        store.revert_to_message("s", 0)
        with pytest.raises(ConflictError):
            store.add_message("s", "user", "other", message_id="m2")
        assert store.add_message("s", "user", "b", message_id="m2")
        store.clear_session("s")
        assert store.add_message("s", "user", "other", message_id="m2")
        assert texts(store, "s") == ["other"]

    def test_ids_of_other_sessions_are_free(self, store: SessionStore) -> None:
        for name in ("s", "t"):
            store.add_message(name, "user", name, message_id="m")
        assert texts(store, "t") == ["t"]


class TestReplacingAndRemoving:
    def test_the_history_is_replaced_at_once(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b", "c"))
        store.set_title("s", "kept")
        store.create_snapshot("s")
        assert store.set_chat_history("s", [{"role": "user", "content": "x", "id": "m"}, SessionMessage("assistant", "y")])
        assert texts(store, "s") == ["x", "y"]
        assert store.get_session("s").title == "kept"
        assert store.get_snapshots("s") == []
        assert store.set_chat_history("new", say("x"))
        assert texts(store, "new") == ["x"]
        assert store.set_chat_history("s", [])
        assert store.session_exists("s")
        assert texts(store, "s") == []

    def test_a_replacement_that_is_refused_changes_nothing(self, store: SessionStore) -> None:
        store.add_messages("s", say("a"))
        with pytest.raises(InvalidMessageError):
            store.set_chat_history("s", [*say("b"), {"role": "user", "content": {1}}])
        assert texts(store, "s") == ["a"]

    def test_clearing_leaves_the_session(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        store.set_agent_info("s", "agent", "user")
        store.update_session_metadata("s", model="m")
        assert store.clear_session("s") is True
        assert store.session_exists("s")
        data = store.get_session("s")
        assert (data.messages, data.agent_name, data.user_id, data.metadata["model"]) == ([], "agent", "user", "m")
        store.add_message("s", "user", "c")
        assert texts(store, "s") == ["c"]

    def test_clearing_and_deleting_what_is_not_there(self, store: SessionStore) -> None:
        assert store.clear_session("s") is True
        assert store.delete_session("s") is True
        assert not store.session_exists("s")
        assert store.list_sessions() == []

    def test_deleting_removes_everything(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        store.set_title("s", "t")
        assert store.delete_session("s") is True
        assert not store.session_exists("s")
        assert store.get_chat_history("s") == []
        data = store.get_session("s")
        assert (data.messages, data.title, data.revision) == ([], None, "")
        store.add_message("s", "user", "c")
        assert texts(store, "s") == ["c"]
        assert store.get_session("s").title is None
