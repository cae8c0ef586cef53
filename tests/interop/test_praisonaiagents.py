"""turnlog and the real praisonaiagents in one directory, each in a process of its own, in both directions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Peers = Callable[..., Any]

OURS, THEIRS = "turnlog", "praisonaiagents"
DEFAULT, TREE = "DefaultSessionStore", "HierarchicalSessionStore"
both_ways = pytest.mark.parametrize(("first", "second"), [(OURS, THEIRS), (THEIRS, OURS)], ids=["ours first", "theirs first"])
both_kinds = pytest.mark.parametrize("kind", [DEFAULT, TREE])
COMPACT = {"retention": "compact", "active_window": 10}
retentions = pytest.mark.parametrize("options", [{"retention": "keep_all"}, COMPACT], ids=["keep_all", "compact"])

CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Graz"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
]
TURN: list[dict[str, Any]] = [
    {"role": "user", "content": 'Grüße 🌍, a "quote", a \\ and a\nline'},
    {"role": "assistant", "content": "", "tool_calls": CALLS},
    {"role": "tool", "content": "sunny", "tool_call_id": "call_1"},
    {"role": "tool", "content": "noon", "tool_call_id": "call_2"},
    {"role": "assistant", "content": "It is sunny in Graz."},
]


def say(peer: Any, session_id: str, *texts: str) -> None:
    """Append user messages."""
    for text in texts:
        assert peer.add_message(session_id, "user", text) is True


def texts(peer: Any, session_id: str, **options: Any) -> list[str]:
    """The contents of the history."""
    return [message["content"] for message in peer.get_chat_history(session_id, **options)]


def numbered(count: int, start: int = 0, word: str = "message") -> list[str]:
    """``count`` texts that tell themselves apart."""
    return [f"{word} {number}" for number in range(start, start + count)]


@both_kinds
@both_ways
def test_a_turn_of_the_one_is_read_and_continued_by_the_other(peer: Peers, first: str, second: str, kind: str) -> None:
    one, other = peer(first, kind), peer(second, kind)
    for message in TURN:
        assert one.add_message("chat", **message, metadata={"mood": "good"}) is True
    assert other.session_exists("chat") is True
    assert other.get_chat_history("chat") == one.get_chat_history("chat") == TURN
    # What turnlog keeps for itself under "turnlog" it hides from its own callers; the other program knows nothing of it.
    seen = [{**message["metadata"], "turnlog": None} for message in other.get_session("chat")["messages"]]
    assert seen == [{"mood": "good", "turnlog": None}] * len(TURN)
    turnlog = one if first == OURS else other
    assert all(message["metadata"] == {"mood": "good"} for message in turnlog.get_session("chat")["messages"])
    for message in TURN:
        assert other.add_message("chat", **message) is True
    assert one.get_chat_history("chat") == other.get_chat_history("chat") == TURN * 2


@both_kinds
@both_ways
def test_what_is_known_of_a_session_crosses_and_stays(peer: Peers, first: str, second: str, kind: str) -> None:
    one, other = peer(first, kind), peer(second, kind)
    say(one, "chat", "a")
    one.set_agent_info("chat", "Assistant", "user-1")
    known = {"model": "gpt-4o-mini", "total_tokens": 13, "cost": 3e-06, "source": "chat", "agent_id": "efb6", "own": {"deep": [1, None]}}
    one.update_session_metadata("chat", **known)
    one.rename_session("chat", "About Graz")
    one.set_runtime_state("chat", "native", "turn-1", {"status": "saved"})
    one.append_compaction_checkpoint("chat", "They greeted.", tokens_before=10, tokens_after=2)
    for writer, reader in ((one, other), (other, one)):
        say(writer, "chat", "next")
        seen = reader.get_session("chat")
        assert (seen["agent_name"], seen["user_id"], seen["agent_id"]) == ("Assistant", "user-1", "efb6")
        assert {name: seen["metadata"].get(name) for name in known} == known
        assert seen["runtime_state"] == {"native": {"turn-1": {"status": "saved"}}}
        assert seen["last_compaction"]["summary"] == "They greeted."
        line = reader.list_sessions()[0]
        assert (line["session_id"], line["title"], line["agent_name"]) == ("chat", "About Graz", "Assistant")
        assert line["message_count"] == len(texts(writer, "chat"))
    assert one.get_working_history("chat") == other.get_working_history("chat")
    assert one.get_working_history("chat")[0]["content"].endswith("They greeted.")


@both_kinds
def test_keep_all_keeps_all_of_a_long_session(peer: Peers, kind: str) -> None:
    ours, theirs = peer(OURS, kind), peer(THEIRS, kind, retention="keep_all")
    expected = []
    for start in range(0, 260, 20):
        chunk = numbered(20, start)
        say(ours if start % 40 else theirs, "chat", *chunk)
        expected += chunk
    assert texts(ours, "chat") == expected
    assert [message["content"] for message in theirs.get_session("chat")["messages"]] == expected


@both_kinds
def test_what_compaction_archives_stays_the_beginning_of_the_history(peer: Peers, kind: str) -> None:
    ours, theirs = peer(OURS, kind), peer(THEIRS, kind, **COMPACT)
    expected = numbered(30)
    say(theirs, "chat", *expected)
    assert texts(ours, "chat") == expected
    for round_number in range(3):
        more = numbered(7, word=f"ours {round_number}")
        say(ours, "chat", *more)
        expected += more
        assert texts(ours, "chat") == expected
        assert texts(theirs, "chat")[-7:] == more
        more = numbered(14, word=f"theirs {round_number}")
        say(theirs, "chat", *more)
        expected += more
        assert texts(ours, "chat") == expected
        assert texts(theirs, "chat")[-10:] == more[-10:]
    assert texts(ours, "chat", max_messages=12) == expected[-12:]
    assert not any("[Session Summary]" in text for text in texts(ours, "chat"))


@retentions
@both_kinds
def test_both_append_at_once_and_nothing_is_lost(peer: Peers, kind: str, options: dict[str, Any]) -> None:
    ours, theirs = peer(OURS, kind), peer(THEIRS, kind, **options)
    count = 100
    ours.send("append_many", "chat", "ours", count, 0.01)
    theirs.send("append_many", "chat", "theirs", count, 0.01)
    acknowledged = {"ours": ours.answer(), "theirs": theirs.answer()}
    kept = texts(ours, "chat")
    assert acknowledged == {writer: numbered(count, word=writer) for writer in acknowledged}
    for writer in acknowledged:
        assert [text for text in kept if text.startswith(f"{writer} ")] == numbered(count, word=writer)
    assert len(kept) == 2 * count
    if options["retention"] == "keep_all":
        assert [message["content"] for message in theirs.get_session("chat")["messages"]] == kept


@both_ways
def test_a_fork_by_the_one_is_a_session_of_the_other(peer: Peers, first: str, second: str) -> None:
    one, other = peer(first, TREE), peer(second, TREE)
    parent = one.create_session(title="Main")
    say(one, parent, *numbered(6))
    child = one.fork_session(parent, from_message_index=3, title="Branch")
    assert texts(other, child) == numbered(4)
    assert (other.get_parent(child), other.get_children(parent)) == (parent, [child])
    assert other.get_session_tree(parent) == {
        "session_id": parent, "title": "Main", "message_count": 6,
        "children": [{"session_id": child, "title": "Branch", "message_count": 4, "children": []}],
    }  # fmt: skip
    assert other.get_extended_session(child)["forked_from_message_id"] == "3"
    say(other, child, "only in the fork")
    say(other, parent, "only in the parent")
    assert texts(one, child) == [*numbered(4), "only in the fork"]
    assert texts(one, parent) == [*numbered(6), "only in the parent"]
    grandchild = other.fork_session(child)
    assert one.get_session_tree(parent)["children"][0]["children"][0]["session_id"] == grandchild
    assert texts(one, grandchild) == texts(other, child)


@both_ways
def test_a_revert_by_the_one_cuts_the_history_of_the_other(peer: Peers, first: str, second: str) -> None:
    one, other = peer(first, TREE), peer(second, TREE)
    say(one, "chat", *numbered(6))
    assert one.revert_to_message("chat", 2) is True
    assert texts(other, "chat") == numbered(3)
    say(other, "chat", "after")
    assert texts(one, "chat") == texts(other, "chat") == [*numbered(3), "after"]
    assert other.revert_to_message("chat", 0) is True
    assert texts(one, "chat") == numbered(1)
    say(one, "chat", "again")
    assert texts(other, "chat") == [*numbered(1), "again"]


def test_their_snapshots_outlive_what_we_write(peer: Peers) -> None:
    ours, theirs = peer(OURS, TREE), peer(THEIRS, TREE)
    say(theirs, "chat", *numbered(3))
    snapshot = theirs.create_snapshot("chat", label="three", metadata={"by": "them"})
    say(ours, "chat", *numbered(2, 3))
    ours.set_title("chat", "Ours")
    (seen,) = theirs.get_snapshots("chat")
    assert (seen["id"], seen["label"], seen["metadata"]) == (snapshot, "three", {"by": "them"})
    assert theirs.revert_to_snapshot("chat", snapshot) is True
    assert texts(ours, "chat") == texts(theirs, "chat") == numbered(3)


@both_kinds
@both_ways
def test_clear_and_delete_by_the_one_hold_for_the_other(peer: Peers, first: str, second: str, kind: str, folder: Path) -> None:
    one, other = peer(first, kind), peer(second, kind)
    say(one, "chat", *numbered(3))
    say(other, "chat", "a fourth")
    one.update_session_metadata("chat", model="kept")
    assert one.clear_session("chat") is True
    assert texts(other, "chat") == []
    assert other.session_exists("chat") is True
    assert other.get_session("chat")["metadata"]["model"] == "kept"
    assert b"message 1" not in (folder / "chat.json").read_bytes()
    say(other, "chat", "afresh")
    assert texts(one, "chat") == ["afresh"]
    assert other.delete_session("chat") is True
    assert one.session_exists("chat") is False
    assert one.get_chat_history("chat") == []
    say(one, "chat", "reborn")
    assert texts(other, "chat") == ["reborn"]


@both_kinds
def test_their_rewrite_keeps_what_is_ours(peer: Peers, kind: str) -> None:
    ours, theirs = peer(OURS, TREE), peer(THEIRS, kind)
    parent = ours.create_session("main", title="Main")
    say(ours, parent, *numbered(4))
    ours.add_messages(parent, [{"role": "user", "content": "with a name", "name": "Ada", "id": "known-id", "metadata": {"mood": "good"}}])
    snapshot = ours.create_snapshot(parent, label="five")
    child = ours.fork_session(parent, 1, "Branch")
    for session in (parent, child):
        say(theirs, session, "theirs")
    assert ours.get_extended_session(parent)["title"] == "Main"
    assert (ours.get_parent(child), ours.get_children(parent)) == (parent, [child])
    assert ours.get_chat_history(parent)[4] == {"role": "user", "content": "with a name", "name": "Ada"}
    kept = ours.get_messages(parent)[4]
    assert (kept["id"], kept["metadata"]) == ("known-id", {"mood": "good"})
    assert [each["id"] for each in ours.get_snapshots(parent)] == [snapshot]
    assert ours.revert_to_snapshot(parent, snapshot) is True
    assert texts(ours, parent) == texts(theirs, parent) == [*numbered(4), "with a name"]


def test_their_rewrite_is_a_new_revision(peer: Peers) -> None:
    ours, theirs = peer(OURS), peer(THEIRS)
    say(ours, "chat", "a")
    before = ours.get_revision("chat")
    say(theirs, "chat", "b")
    assert ours.get_revision("chat") != before
    with pytest.raises(AssertionError, match="ConflictError"):
        ours.add_messages("chat", [{"role": "user", "content": "c"}], expect_revision=before)
    assert texts(ours, "chat") == texts(theirs, "chat") == ["a", "b"]


def test_ids_that_they_fold_into_one_file_stay_apart_for_us(peer: Peers) -> None:
    ours, theirs = peer(OURS), peer(THEIRS)
    say(theirs, "john.doe@x", "theirs")
    assert texts(ours, "john.doe@x") == ["theirs"]
    assert texts(ours, "john_doe@x") == []
    say(ours, "john_doe@x", "another")
    assert texts(ours, "john.doe@x") == ["theirs"]
    assert texts(ours, "john_doe@x") == ["another"]
    assert texts(theirs, "john.doe@x") == ["theirs"]


@pytest.mark.parametrize("cut", [1, 20, 60, 150])
def test_a_torn_file_that_they_set_aside_is_found_again(peer: Peers, folder: Path, cut: int) -> None:
    ours, theirs = peer(OURS), peer(THEIRS)
    say(ours, "chat", *numbered(20))
    path = folder / "chat.json"
    path.write_bytes(path.read_bytes()[:-cut])
    texts(theirs, "chat")  # they cannot parse it and rename it
    kept = texts(ours, "chat")
    assert len(kept) >= 18
    assert kept == numbered(20)[: len(kept)]
    say(ours, "chat", "after")
    assert texts(ours, "chat") == texts(theirs, "chat") == [*kept, "after"]


@both_kinds
def test_listing_search_and_export_read_each_other(peer: Peers, kind: str) -> None:
    ours, theirs = peer(OURS, kind), peer(THEIRS, kind)
    say(ours, "from-us", "the blue whale")
    say(theirs, "from-them", "the blue bird")
    for reader in (ours, theirs):
        assert {line["session_id"] for line in reader.list_sessions()} == {"from-us", "from-them"}
        assert {hit["session_id"] for hit in reader.search("blue")} == {"from-us", "from-them"}
    backup = ours.export_all()
    assert {session["session_id"] for session in backup["sessions"]} == {"from-us", "from-them"}
    assert theirs.delete_session("from-us") is True
    assert theirs.import_sessions(json.loads(json.dumps(backup)))["imported"] == 1
    assert texts(ours, "from-us") == texts(theirs, "from-us") == ["the blue whale"]
    backup = theirs.export_all()
    assert ours.delete_session("from-them") is True
    assert ours.import_sessions(backup)["imported"] == 1
    assert texts(ours, "from-them") == texts(theirs, "from-them") == ["the blue bird"]
