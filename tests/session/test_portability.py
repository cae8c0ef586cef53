"""Exports and imports: everything there and back, from store to store, from other programs; and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.session.conftest import Opened, say, texts
from turnlog.errors import ClosedStoreError, ConflictError, InvalidMessageError, InvalidSessionIdError, SessionError, StorageError
from turnlog.session import HierarchicalSessionStore, InMemorySessionStore, SessionNotFoundError, SessionStore

RICH: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "\ud800 \x00"}], "id": "m1", "metadata": {"k": [1]}, "timestamp": 5.5},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "content": "r", "tool_call_id": "c", "extra": {"deep": None}},
    {"type": "reasoning", "id": "rs_1", "metadata": {"not": "envelope"}, "summary": []},
]


def through_json(payload: dict[str, Any]) -> dict[str, Any]:
    """As a file would carry it."""
    copied: dict[str, Any] = json.loads(json.dumps(payload))
    return copied


def bare(store: SessionStore, session_id: str) -> dict[str, Any]:
    """An export without what a new life cannot keep."""
    (session,) = store.export_session(session_id, include_lineage=False)["sessions"]
    for name in ("updated_at", "parent_id", "forked_from_message_id", "children_ids"):
        session.pop(name)
    return session  # type: ignore[no-any-return]


class TestRoundTrips:
    def test_a_session_with_everything(self, store: SessionStore, other: SessionStore) -> None:
        store.add_messages("s", RICH)
        store.set_agent_info("s", "A", "U")
        store.set_title("s", "T")
        store.update_session_metadata("s", model="m", cost=0.5)
        store.share_session("s")
        store.set_runtime_state("s", "r", "t", {"n": 1})
        store.append_compaction_checkpoint("s", "sum", tokens_before=5)
        store.create_snapshot("s", "label", {"k": 1})
        report = other.import_sessions(through_json(store.export_session("s")))
        assert (report.imported, report.skipped, report.skipped_count) == (1, [], 0)
        assert report.as_dict() == {"imported": 1, "skipped": [], "skipped_count": 0, "version": 1}
        assert other.get_messages("s") == store.get_messages("s")
        assert bare(other, "s") == bare(store, "s")

    def test_snapshots_of_lines_that_were_left(self, store: SessionStore, other: SessionStore) -> None:
        store.add_messages("s", say(*"abcd"))
        whole = store.create_snapshot("s", "whole")
        store.revert_to_message("s", 1)
        inside = store.create_snapshot("s", "inside")
        store.add_messages("s", say("x", "y"))
        ahead = store.create_snapshot("s", "ahead")
        store.revert_to_message("s", 2)
        other.import_sessions(through_json(store.export_session("s")))
        assert [(one.id, one.label, one.message_index) for one in other.get_snapshots("s")] == [
            (one.id, one.label, one.message_index) for one in store.get_snapshots("s")
        ]
        for target in (store, other):
            for snapshot, expected in ((whole, "abcd"), (inside, "ab"), (ahead, "abxy"), (whole, "abcd")):
                target.revert_to_snapshot("s", snapshot)
                assert "".join(texts(target, "s")) == expected
        other.add_messages("s", say("new"))
        assert "".join(texts(other, "s")) == "abcdnew"

    def test_all_sessions(self, store: SessionStore, other: SessionStore) -> None:
        for name in ("a", "b/c", "\ud800"):
            store.add_messages(name, say(name))
        store.fork_session("a", new_session_id="f")
        payload = through_json(store.export_all())
        assert payload["version"] == 1
        assert other.import_sessions(payload).imported == 4
        assert {line["session_id"] for line in other.list_sessions()} == {"a", "b/c", "\ud800", "f"}
        assert texts(other, "f") == ["a"]

    def test_a_fork_brings_its_line_when_asked(self, store: SessionStore, other: SessionStore) -> None:
        store.add_messages("p", say("a", "b"))
        store.fork_session("p", 0, new_session_id="c")
        payload = store.export_session("c")
        assert [session["session_id"] for session in payload["sessions"]] == ["c", "p"]
        assert [session["session_id"] for session in store.export_session("c", include_lineage=False)["sessions"]] == ["c"]
        assert other.import_sessions(payload).imported == 2
        assert (texts(other, "c"), texts(other, "p")) == (["a"], ["a", "b"])

    def test_under_another_id(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        snapshot = store.create_snapshot("s")
        payload = store.export_session("s")
        for form in (payload, payload["sessions"][0]):
            name = store.import_session(form)
            assert name != "s"
            assert texts(store, name) == ["a", "b"]
            assert [one.id for one in store.get_snapshots(name)] == [snapshot]
        assert store.import_session(payload, "named") == "named"
        with pytest.raises(ConflictError):
            store.import_session(payload, "s")
        with pytest.raises(InvalidSessionIdError):
            store.import_session(payload, "")

    def test_what_is_not_there(self, store: SessionStore) -> None:
        assert store.export_session("none") == {"version": 1, "sessions": []}
        assert store.export_all() == {"version": 1, "sessions": []}
        with pytest.raises(InvalidMessageError):
            store.import_session(store.export_session("none"))

    def test_the_hierarchical_store_gives_one_object(self, tmp_path: Any) -> None:
        with HierarchicalSessionStore(tmp_path / "one") as one, HierarchicalSessionStore(tmp_path / "two") as two:
            one.add_messages("s", say("a", "b"))
            exported = one.export_session("s")
            assert exported["session_id"] == "s"
            assert texts(two, two.import_session(exported)) == ["a", "b"]
            assert two.import_sessions(exported).imported == 1
            with pytest.raises(SessionNotFoundError):
                one.export_session("none")

    def test_drafts_are_not_exported(self, store: SessionStore) -> None:
        store.add_messages("s", say("a"))
        store.upsert_partial_assistant_message("s", "He")
        assert len(store.export_session("s")["sessions"][0]["messages"]) == 1


class TestExistingSessions:
    def test_they_are_left_alone_unless_asked(self, store: SessionStore) -> None:
        store.add_messages("s", say("old"))
        payload = {"version": 1, "sessions": [{"session_id": "s", "messages": say("new")}, {"session_id": "t", "messages": say("t")}]}
        report = store.import_sessions(payload)
        assert report.imported == 1
        assert [line["session_id"] for line in report.skipped] == ["s"]
        assert "overwrite" in report.skipped[0]["reason"]
        assert texts(store, "s") == ["old"]

    def test_what_is_overwritten_is_erased_but_for_forks(self, store: SessionStore) -> None:
        store.add_messages("s", say("old", "older"))
        store.set_title("s", "Old")
        store.create_snapshot("s")
        store.fork_session("s", 0, new_session_id="c")
        report = store.import_sessions({"sessions": [{"session_id": "s", "messages": say("new")}]}, overwrite=True)
        assert report.imported == 1
        assert (texts(store, "s"), texts(store, "c")) == (["new"], ["old"])
        assert store.get_session("s").title is None
        assert store.get_snapshots("s") == []
        store.delete_session("c")
        assert texts(store, "s") == ["new"]

    def test_limits_and_repetitions(self, store: SessionStore) -> None:
        sessions = [{"session_id": name, "messages": say(name)} for name in ("a", "b", "a", "c")]
        report = store.import_sessions({"version": 1, "sessions": sessions}, max_sessions=2)
        assert report.imported == 2
        assert [line["session_id"] for line in report.skipped] == ["a", "c"]

    def test_ids_of_live_connections_are_left_out(self, store: SessionStore) -> None:
        session = {"session_id": "s", "gateway_session_id": "g", "agent_id": "a", "metadata": {"agent_id": "a", "k": 1}}
        store.import_sessions({"sessions": [session]})
        data = store.get_session("s")
        assert (data.gateway_session_id, data.agent_id, data.metadata) == (None, None, {"k": 1})
        store.import_sessions({"sessions": [session]}, overwrite=True, reset_live_fields=False)
        data = store.get_session("s")
        assert (data.gateway_session_id, data.agent_id, data.metadata) == ("g", "a", {"agent_id": "a", "k": 1})


class TestOtherPrograms:
    SUMMARY = {"role": "system", "content": "[Session Summary]", "timestamp": 7.0, "metadata": {"compaction": True}}

    def test_an_archive_is_the_beginning_and_its_summary_gives_way(self, store: SessionStore) -> None:
        session = {
            "session_id": "s",
            "archived_messages": say("a", "b", timestamp=1.0),
            "messages": [self.SUMMARY, *say("c", "d", timestamp=2.0)],
            "created_at": "2026-01-01T00:00:00+00:00",
            "last_compaction": {"summary": "sum", "message_index": 2, "role": "system"},
            "snapshots": [{"id": "p", "message_index": 1, "created_at": 3.0, "label": "l", "metadata": {}}],
        }
        assert store.import_sessions({"version": 1, "sessions": [session]}).skipped == []
        assert texts(store, "s") == list("abcd")
        assert store.get_session("s").created_at == "2026-01-01T00:00:00+00:00"
        assert [message["content"] for message in store.get_working_history("s")] == ["sum", "d"]
        assert [(one.id, one.message_index, one.label) for one in store.get_snapshots("s")] == [("p", 2, "l")]

    def test_the_archive_of_what_was_cleared_stays_gone(self, store: SessionStore) -> None:
        store.import_sessions({"sessions": [{"session_id": "s", "archived_messages": say("a"), "messages": say("new")}]})
        assert texts(store, "s") == ["new"]

    def test_a_summary_without_an_archive_is_a_message(self, store: SessionStore) -> None:
        store.import_sessions({"sessions": [{"session_id": "s", "messages": [self.SUMMARY, *say("c")]}]})
        assert texts(store, "s") == ["[Session Summary]", "c"]

    def test_snapshots_with_a_transcript(self, store: SessionStore) -> None:
        transcript = {"messages": say("a", "x", "y", timestamp=1.0), "archived_messages": [], "last_compaction": None}
        session = {
            "session_id": "s",
            "messages": say("a", "b", timestamp=1.0),
            "snapshots": [
                {"id": "p", "message_index": 2, "transcript": transcript},
                {"id": "q", "message_index": 1, "transcript": {**transcript, "messages": say("a", "b", timestamp=1.0)}},
                {"id": "gone", "message_index": 0, "invalidated": True},
                {"id": "beyond", "message_index": 7},
                {"id": "empty", "message_index": -1},
            ],
        }
        store.import_sessions({"sessions": [session]})
        assert [(one.id, one.message_index) for one in store.get_snapshots("s")] == [("p", 2), ("q", 1), ("empty", -1)]
        store.revert_to_snapshot("s", "p")
        assert texts(store, "s") == ["a", "x", "y"]
        store.revert_to_snapshot("s", "q")
        assert texts(store, "s") == ["a", "b"]


class TestRefusals:
    @pytest.mark.parametrize(
        "payload",
        [None, [], "text", {}, {"sessions": None}, {"sessions": {}}, {"version": 2, "sessions": []}, {"version": "1", "sessions": []}],
    )
    def test_no_payload(self, store: SessionStore, payload: Any) -> None:
        with pytest.raises(InvalidMessageError):
            store.import_sessions(payload)

    @pytest.mark.parametrize(
        ("session", "reason"),
        [
            (None, "no object with a session_id"),
            ({"messages": []}, "no object with a session_id"),
            ({"session_id": "x" * 2000, "messages": []}, "2000 characters"),
            ({"session_id": "s", "messages": "text"}, "messages of an exported session must be a list, not a str"),
            ({"session_id": "s", "messages": ["text"]}, "messages[0]"),
            ({"session_id": "s", "messages": say("a"), "archived_messages": "x"}, "archived_messages"),
            ({"session_id": "s", "messages": [{"role": 5, "content": "x"}]}, "role"),
            ({"session_id": "s", "messages": [{"role": "user", "content": "x", "metadata": "text"}]}, "metadata"),
            ({"session_id": "s", "messages": [{"role": "user", "content": "x", "timestamp": "noon"}]}, "timestamp"),
            ({"session_id": "s", "messages": [{"role": "user", "content": "x", "id": 7}]}, "id"),
            ({"session_id": "s", "messages": [{"role": "user", "content": float("nan")}]}, "nan"),
            ({"session_id": "s", "messages": say("a", "b", id="m")}, "the same id"),
            ({"session_id": "s", "metadata": "text"}, "metadata"),
            ({"session_id": "s", "last_compaction": "text"}, "last_compaction"),
            ({"session_id": "s", "snapshots": "text"}, "snapshots"),
            ({"session_id": "s", "snapshots": ["text"]}, "snapshots[0]"),
            ({"session_id": "s", "snapshots": [{"common": 5}]}, "shares 5 messages"),
            ({"session_id": "s", "snapshots": [{"common": True}]}, "shares True messages"),
            ({"session_id": "s", "snapshots": [{"common": 0, "messages": ["x"]}]}, "messages[0]"),
        ],
    )
    def test_a_session_that_cannot_be_stored_is_skipped_with_its_reason(self, store: SessionStore, session: Any, reason: str) -> None:
        report = store.import_sessions({"version": 1, "sessions": [session, {"session_id": "good", "messages": say("a")}]})
        assert report.imported == 1
        assert [reason in line["reason"] for line in report.skipped] == [True]
        assert [line["session_id"] for line in store.list_sessions()] == ["good"]
        assert texts(store, "good") == ["a"]
        if isinstance(session, dict) and session.get("session_id") == "s":
            with pytest.raises(SessionError):
                store.import_session(session, "t")
            assert not store.session_exists("t")

    def test_a_place_that_fails_is_no_reason_to_go_on(self, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        store = opened()
        payload = {"sessions": [{"session_id": "s", "messages": say("a")}]}

        async def full(*args: Any, **kwargs: Any) -> bool:
            raise StorageError("the disk is full", errno=28)

        with monkeypatch.context() as patch:
            patch.setattr(type(store.backend), "put_head", full)
            with pytest.raises(StorageError):
                store.import_sessions(payload)
        assert store.import_sessions(payload).imported == 1
        store.close()
        with pytest.raises(ClosedStoreError):
            store.import_sessions(payload)


def test_an_export_is_of_one_moment_and_the_callers() -> None:
    with InMemorySessionStore() as store:
        store.add_messages("s", say("a", metadata={"k": [1]}))
        store.export_session("s")["sessions"][0]["messages"][0]["metadata"]["k"].append(2)
        assert store.get_messages("s")[0].metadata == {"k": [1]}
