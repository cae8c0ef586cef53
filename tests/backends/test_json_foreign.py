"""Files that another program wrote or rewrote: every key is kept, the session goes on in place, and what only we know survives."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.json_files import beside, directory, document
from tests.backends.samples import a_head, record, records
from turnlog.backends.json_file.access import LARGE
from turnlog.heads import Head, Stretch
from turnlog.session import DefaultSessionStore

THEIRS: dict[str, Any] = {
    "session_id": "s",
    "messages": [
        {"role": "user", "content": "Hello!", "timestamp": 11.5, "metadata": {"mood": "good"}, "extra": [1]},
        {"role": "assistant", "content": "Hi", "timestamp": 12.5, "metadata": {}},
    ],
    "created_at": "2026-11-23T22:35:56.890378+00:00",
    "updated_at": "2026-11-23T22:35:58.470000+00:00",
    "agent_name": "Assistant",
    "user_id": "praison",
    "metadata": {"model": "m", "cost": 3e-06},
    "gateway_session_id": None,
    "agent_id": "efb6",
    "runtime_state": {},
    "archived_messages": [],
    "model": "m",
    "cost": 3e-06,
    "future_key": {"deep": [None, True]},
}
MESSAGE_KEYS = ("role", "content", "timestamp", "metadata", "tool_calls", "tool_call_id")
SESSION_KEYS = (
    "session_id",
    "messages",
    "created_at",
    "agent_name",
    "user_id",
    "metadata",
    "agent_id",
    "runtime_state",
    "archived_messages",
)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    path = tmp_path / "s.json"
    path.write_text(json.dumps(THEIRS, indent=2))
    return path


def rewrite(path: Path, *, messages: list[Any] | None = None, more: tuple[str, ...] = ()) -> None:
    """Write the file as the other program does: through a temporary file, and only the keys that it knows."""
    shown = document(path)
    kept = {key: shown[key] for key in SESSION_KEYS}
    kept["messages"] = [{key: each[key] for key in MESSAGE_KEYS if key in each} for each in shown["messages"]]
    kept["messages"] += [{"role": "user", "content": text, "timestamp": 20.0, "metadata": {}} for text in more]
    if messages is not None:
        kept["messages"] = messages
    temporary = path.with_name("other program's temporary file")
    temporary.write_text(json.dumps(kept, indent=2))
    os.replace(temporary, path)


def history(backend: Driven) -> list[str]:
    """The contents of the history, oldest first."""
    head: Head = backend.get_head("s")
    spans = [*head.past, Stretch(head.run, head.tail, head.length)]
    return [json.loads(each.body)["content"] for each in backend.read("s", spans)][head.shed :]


def test_its_file_is_read_with_every_key_and_left_as_it_is(theirs: Path) -> None:
    before = theirs.read_bytes()
    backend = directory(theirs.parent)
    head = backend.get_head("s")
    assert (head.count, head.created_at) == (2, 1795473356.890378)
    assert head.fields["future_key"] == {"deep": [None, True]}
    assert {name: head.fields[name] for name in ("agent_name", "user_id", "agent_id")} == {
        "agent_name": "Assistant", "user_id": "praison", "agent_id": "efb6",
    }  # fmt: skip
    first, second = backend.read("s", [Stretch(head.run, 0, 2)])
    assert json.loads(first.body) == {"role": "user", "content": "Hello!", "extra": [1]}
    assert (first.time, first.meta, second.meta) == (11.5, '{"mood":"good"}', None)
    assert theirs.read_bytes() == before
    assert directory(theirs.parent).get_head("s") == head
    backend.close()


@pytest.mark.parametrize("verb", ["append", "row", "fields", "revert"])
def test_the_first_write_lays_it_out_anew_with_every_key(theirs: Path, verb: str) -> None:
    backend = directory(theirs.parent)
    head = backend.get_head("s")
    raised = replace(head, counter=1)
    if verb == "append":
        assert backend.append("s", [record("next")], now=1.0, expect=head.revision).messages == 3
    elif verb == "row":
        assert backend.put_row("s", head.run, "snapshot", "k", "1") is True
    elif verb == "fields":
        assert backend.put_head(replace(raised, fields={**head.fields, "title": "T"}), expect=head.revision) is True
    else:
        short = replace(raised, past=(Stretch(head.run, 0, 1),), past_count=1, tail=2)
        assert backend.put_head(short, expect=head.revision) is True
    shown = document(theirs)
    for key, value in THEIRS.items():
        if key not in ("messages", "updated_at", "metadata"):
            assert shown[key] == value, key
    assert {key: value for key, value in shown["metadata"].items() if key != "turnlog"} == THEIRS["metadata"]
    assert shown["messages"][0]["extra"] == [1]
    assert shown["messages"][0]["metadata"]["mood"] == "good"
    for each in (backend, directory(theirs.parent)):
        expected = {"append": ["Hello!", "Hi", "next"], "revert": ["Hello!"]}.get(verb, ["Hello!", "Hi"])
        assert history(each) == expected
        each.close()


def test_a_known_message_of_its_file_is_known(theirs: Path) -> None:
    backend = directory(theirs.parent)
    (first,) = backend.read("s", [Stretch(backend.get_head("s").run, 0, 1)])
    assert backend.append("s", [first], now=1.0, expect=None).known is True
    assert json.loads(theirs.read_bytes()) == THEIRS
    backend.close()


def test_its_file_can_be_removed_and_taken_over(theirs: Path) -> None:
    backend = directory(theirs.parent)
    run = backend.get_head("s").run
    assert backend.put_head(a_head(), expect=None) is False
    assert backend.remove_head("s", "another run") is False
    assert backend.remove_head("s", run) is True
    assert backend.get_head("s") is None
    theirs.write_text(json.dumps(THEIRS))
    assert backend.put_head(a_head(run="r2", length=1), expect=backend.get_head("s").revision, records=records(0, 1)) is True
    assert history(backend) == ["m0"]
    assert b"Hello!" not in theirs.read_bytes()
    backend.close()


def test_a_session_without_messages_is_one(theirs: Path) -> None:
    theirs.write_text(json.dumps({**THEIRS, "messages": []}, indent=2))
    backend = directory(theirs.parent)
    assert backend.get_head("s").count == 0
    assert backend.append("s", records(0, 1), now=1.0, expect=None).messages == 1
    backend.close()


def test_its_rewrite_keeps_what_only_we_know(tmp_path: Path) -> None:
    backend = directory(tmp_path)
    backend.put_head(a_head(length=4, fields={"title": "T", "own": 1}), expect=None, records=records(0, 4))
    backend.put_row("s", "r1", "snapshot", "k", "1")
    head = backend.get_head("s")
    backend.put_head(replace(head, counter=1, past=(Stretch("r1", 0, 2),), past_count=2, tail=4), expect=head.revision)
    revision = backend.get_head("s").revision
    rewrite(tmp_path / "s.json", more=("theirs",))
    for each in (backend, directory(tmp_path)):
        after = each.get_head("s")
        assert after.revision != revision
        assert (after.born, after.fields) == ("b", {"title": "T", "own": 1})
        assert each.get_rows("s", after.run, "snapshot") == {"k": "1"}
        assert history(each) == ["m0", "m1", "theirs"]
        # What the revert left is there still, for an undo.
        assert [record.id for record in each.read("s", [Stretch(after.run, 2, 4)])] == ["m2", "m3"]
    assert backend.append("s", [record("ours")], now=1.0, expect=None).messages == 4
    rewrite(tmp_path / "s.json", more=("theirs again",))
    assert history(backend) == ["m0", "m1", "theirs", "ours", "theirs again"]
    backend.close()


def test_its_rewrite_keeps_what_lies_in_the_side_file(tmp_path: Path) -> None:
    backend = directory(tmp_path)
    backend.put_head(a_head(), expect=None)
    backend.append("s", [record("long", "x" * 70_000)], now=1.0, expect=None)
    head = backend.get_head("s")
    backend.put_head(replace(head, counter=head.counter + 1, fields={"title": "T", "metadata": {"a": 1}}), expect=head.revision)
    assert beside(tmp_path / "s.json") == ["s.json.side"]
    rewrite(tmp_path / "s.json", more=("theirs",))
    assert backend.get_head("s").fields == {"title": "T", "metadata": {"a": 1}}
    backend.append("s", [record("ours")], now=1.0, expect=None)
    assert beside(tmp_path / "s.json") == []
    assert directory(tmp_path).get_head("s").fields == {"title": "T", "metadata": {"a": 1}}
    backend.close()


def test_when_it_clears_nothing_of_what_was_comes_back(tmp_path: Path) -> None:
    backend = directory(tmp_path)
    backend.put_head(a_head(length=4), expect=None, records=[record(f"m{number}", "secret") for number in range(4)])
    backend.put_row("s", "r1", "snapshot", "k", "1")
    head = backend.get_head("s")
    backend.put_head(replace(head, counter=1, past=(Stretch("r1", 0, 2),), past_count=2, tail=4), expect=head.revision)
    rewrite(tmp_path / "s.json", messages=[])
    after = backend.get_head("s")
    assert after.count == 0
    assert backend.get_rows("s", after.run, "snapshot") == {}
    assert backend.read("s", [Stretch(after.run, 0, 99)]) == []
    backend.append("s", [record("m0", "new")], now=1.0, expect=None)
    assert b"secret" not in (tmp_path / "s.json").read_bytes()
    backend.close()


def test_a_large_file_of_its_own_is_not_kept_in_memory(theirs: Path) -> None:
    many = [{"role": "user", "content": "x" * 1000, "timestamp": 1.0, "metadata": {}} for _ in range(LARGE // 900)]
    theirs.write_text(json.dumps({**THEIRS, "messages": many}))
    backend = directory(theirs.parent)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert backend.get_head("s").count == len(many)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    backend.close()


def test_a_parents_file_names_its_forks_as_long_as_they_are_there(tmp_path: Path) -> None:
    store = DefaultSessionStore(tmp_path, durability="process")
    store.add_message("s", "user", "hello")
    for child in ("one", "two"):
        store.fork_session("s", new_session_id=child)
    below = store.fork_session("one", new_session_id="below")
    store.add_message("s", "user", "more")
    assert document(tmp_path / "s.json")["children_ids"] == ["one", "two"]
    assert document(tmp_path / "one.json")["children_ids"] == [below]
    assert "children_ids" not in document(tmp_path / "two.json")
    store.clear_session("s")
    store.delete_session("two")
    assert document(tmp_path / "s.json")["children_ids"] == ["one"]


def test_a_fork_leaves_revision_and_time_of_its_parent_alone(tmp_path: Path) -> None:
    store = DefaultSessionStore(tmp_path, durability="process")
    store.add_message("s", "user", "hello")
    old = store.get_session("s")
    store.fork_session("s", new_session_id="child")
    assert document(tmp_path / "s.json")["children_ids"] == ["child"]
    now = store.get_session("s")
    assert (now.revision, now.updated_at) == (old.revision, old.updated_at)


def test_a_fork_is_deleted_though_its_parent_cannot_be_read(tmp_path: Path) -> None:
    store = DefaultSessionStore(tmp_path, durability="process")
    store.add_message("s", "user", "hello")
    store.fork_session("s", new_session_id="child")
    (tmp_path / "s.json").write_text("{")
    assert DefaultSessionStore(tmp_path).delete_session("child") is True
    assert not (tmp_path / "child.json").exists()
