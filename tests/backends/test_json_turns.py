"""The file of open turns beside a session's JSON file: never synced, gone with the last turn, worthless when torn, part of no listing."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.json_files import beside, document, start
from tests.backends.test_json_foreign import rewrite
from turnlog.errors import FormatVersionError, StorageError
from turnlog.session import DefaultSessionStore, SessionStore
from turnlog.testing.syncs import Syncs, identity


def produced(turn: str, *contents: str) -> list[dict[str, Any]]:
    """What a turn has produced, with the ids under which it will land."""
    return [{"role": "user", "content": content, "id": f"{turn} {content}"} for content in contents]


def opened_turns(store: SessionStore, session_id: str = "s") -> dict[str, list[Any]]:
    """The contents of each open turn."""
    return {turn.id: [message.content for message in turn.messages] for turn in store.get_open_turns(session_id)}


def texts(store: SessionStore, session_id: str = "s") -> list[Any]:
    """What is in the session."""
    return [message.content for message in store.get_messages(session_id)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the files are."""
    return tmp_path / "sessions"


@pytest.fixture
def store(root: Path) -> Iterator[SessionStore]:
    """A store with one session, "s", of one message, that syncs what it acknowledges."""
    with DefaultSessionStore(root, durability="power") as made:
        made.add_message("s", "user", "first")
        yield made


@pytest.fixture
def turns(root: Path) -> Path:
    """The file of the open turns of "s"."""
    return root / "s.json.turns"


class TestTheFile:
    def test_it_comes_with_the_first_turn_and_goes_with_the_last(self, store: SessionStore, root: Path, turns: Path) -> None:
        assert not turns.exists()
        store.put_open_turn("s", "t1", produced("t1", "a"))
        store.put_open_turn("s", "t2", produced("t2", "b"))
        assert stat.S_IMODE(turns.stat().st_mode) == 0o600
        store.drop_open_turn("s", "t2")
        assert opened_turns(store) == {"t1": ["a"]}
        store.add_messages("s", produced("t1", "a"), turn_id="t1")
        assert beside(root / "s.json") == []

    def test_the_document_is_not_touched(self, store: SessionStore, root: Path) -> None:
        before = (root / "s.json").read_bytes(), (root / "s.json").stat()
        store.put_open_turn("s", "t", produced("t", "a"))
        store.get_open_turns("s")
        store.drop_open_turn("s", "t")
        after = (root / "s.json").read_bytes(), (root / "s.json").stat()
        assert (before[0], before[1].st_ino, before[1].st_mtime_ns) == (after[0], after[1].st_ino, after[1].st_mtime_ns)

    def test_its_form(self, store: SessionStore, turns: Path) -> None:
        store.put_open_turn("s", "t\u00fc", [{"role": "user", "content": "\ud800 \x00 \U0001f600", "id": "m", "timestamp": 5.0}])
        value = json.loads(turns.read_bytes())
        assert (list(value), value["format"]) == (["format", "run", "turns"], 1)
        row = json.loads(value["turns"]["t\u00fc"])
        assert list(row) == ["since", "started_at", "updated_at", "info", "messages"]
        assert row["messages"] == [["m", 5.0, '{"role":"user","content":"\\ud800 \\u0000 \U0001f600"}', None]]

    def test_nothing_is_synced_for_it(self, store: SessionStore, root: Path) -> None:
        syncs = Syncs()
        with syncs.watching():
            store.put_open_turn("s", "t", produced("t", "a"))
            store.put_open_turn("s", "t", produced("t", "a", "b"))
            store.drop_open_turn("s", "t")
        assert syncs.synced() == set()
        store.put_open_turn("s", "t", produced("t", "a"))
        with syncs.watching():
            store.add_messages("s", produced("t", "a"), turn_id="t")
        assert syncs.synced() == {identity(root / "s.json")}

    def test_the_listing_knows_nothing_of_it(self, store: SessionStore) -> None:
        store.put_open_turn("s", "t", produced("t", "zebra"))
        assert [line.session_id for line in store.iter_sessions()] == ["s"]
        assert store.list_sessions()[0]["message_count"] == 1
        assert store.search("zebra") == []

    def test_no_link_is_followed(self, store: SessionStore, turns: Path, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.write_text("{}")
        turns.symlink_to(outside)
        for verb in (store.get_open_turns, lambda name: store.put_open_turn(name, "t")):
            with pytest.raises(StorageError):
                verb("s")
        assert outside.read_text() == "{}"


class TestDamage:
    @pytest.mark.parametrize("part", [0, 1, 20, -1], ids=["empty", "one byte", "some", "all but one byte"])
    def test_a_torn_file_holds_no_turns(self, store: SessionStore, root: Path, turns: Path, part: int, caplog: Any) -> None:
        store.put_open_turn("s", "t", produced("t", "a"))
        data = turns.read_bytes()[:part]
        turns.write_bytes(data)
        assert (opened_turns(store), texts(store)) == ({}, ["first"])
        with caplog.at_level(logging.WARNING, "turnlog"):
            store.put_open_turn("s", "t", produced("t", "b"))
        assert opened_turns(store) == {"t": ["b"]}
        torn = [name for name in beside(root / "s.json") if ".torn-" in name]
        assert [(root / name).read_bytes() for name in torn] == ([data] if data else [])
        assert [record.getMessage().count(name) for record, name in zip(caplog.records, torn, strict=True)] == [1] * len(torn)
        store.delete_session("s")
        assert beside(root / "s.json") == []

    @pytest.mark.parametrize(
        "content", [b"\xff", b"[]", b"{}", b'{"format":"1"}', b'{"format":1,"run":"r","turns":{"t":5}}', b"[" * 100_000]
    )
    def test_nor_does_what_was_never_one(self, store: SessionStore, turns: Path, content: bytes) -> None:
        turns.write_bytes(content)
        assert opened_turns(store) == {}
        store.add_messages("s", produced("t", "a"), turn_id="t")
        assert texts(store) == ["first", "a"]
        store.put_open_turn("s", "t2", produced("t2", "b"))
        assert opened_turns(store) == {"t2": ["b"]}

    @pytest.mark.parametrize("content", [b'{"format":2}', b'{"format":99,"run":"r","turns":[]}'])
    def test_a_newer_one_is_refused_and_stays(self, store: SessionStore, turns: Path, content: bytes) -> None:
        turns.write_bytes(content)
        verbs = [store.get_open_turns, lambda name: store.put_open_turn(name, "t"), lambda name: store.drop_open_turn(name, "t")]
        for verb in verbs:
            with pytest.raises(FormatVersionError, match="install a newer turnlog") as refused:
                verb("s")
            assert refused.value.supported == 1  # type: ignore[attr-defined]
        assert turns.read_bytes() == content
        assert texts(store) == ["first"]
        assert store.add_message("s", "user", "second")

    def test_one_of_another_run_holds_no_turns(self, store: SessionStore, turns: Path) -> None:
        store.put_open_turn("s", "t", produced("t", "a"))
        kept = turns.read_bytes()
        store.clear_session("s")
        turns.write_bytes(kept)
        assert opened_turns(store) == {}
        store.put_open_turn("s", "t2", produced("t2", "b"))
        assert opened_turns(store) == {"t2": ["b"]}
        assert b"t a" not in turns.read_bytes()

    @pytest.mark.parametrize("look", ["get_open_turns", "get_messages", "list_sessions"])
    def test_what_a_killed_writer_left_is_swept(self, store: SessionStore, root: Path, turns: Path, look: str) -> None:
        store.put_open_turn("s", "t", produced("t", "a"))
        left = root / "s.json.turns.tmp"
        left.write_text("half of it")
        with DefaultSessionStore(root) as another:
            if look == "list_sessions":
                another.list_sessions()
            else:
                getattr(another, look)("s")
        assert beside(root / "s.json") == ["s.json.turns"]

    def test_what_is_left_beside_no_document_goes(self, store: SessionStore, root: Path) -> None:
        store.put_open_turn("s", "t", produced("t", "a"))
        store.close()
        (root / "s.json").unlink()
        with DefaultSessionStore(root) as another:
            assert another.list_sessions() == []
        assert beside(root / "s.json") == []


class TestWhatEndsThem:
    @pytest.mark.parametrize("end", ["clear_session", "delete_session", "set_chat_history"])
    def test_they_are_erased_with_the_history(self, store: SessionStore, root: Path, end: str) -> None:
        store.put_open_turn("s", "t", produced("t", "zebra"))
        getattr(store, end)("s", *([[]] if end == "set_chat_history" else []))
        assert [path.name for path in root.iterdir() if b"zebra" in path.read_bytes()] == []
        assert beside(root / "s.json") == []

    def test_a_fork_has_none_and_rewrites_leave_them(self, store: SessionStore, root: Path) -> None:
        store.put_open_turn("s", "t", produced("t", "a"))
        child = store.fork_session("s", new_session_id="child")
        store.create_snapshot("s")
        store.set_title("s", "title")
        assert beside(root / "child.json") == []
        assert (opened_turns(store), opened_turns(store, child)) == ({"t": ["a"]}, {})

    def test_another_program_that_rewrites_the_document_ends_them(self, store: SessionStore, root: Path, turns: Path) -> None:
        """It makes the session a new incarnation: nobody knows any more what the turn was to follow."""
        store.put_open_turn("s", "t", produced("t", "a"))
        rewrite(root / "s.json", more=("theirs",))
        assert (opened_turns(store), texts(store)) == ({}, ["first", "theirs"])
        store.add_messages("s", produced("t", "a"), turn_id="t")
        assert texts(store) == ["first", "theirs", "a"]
        assert not turns.exists()
        store.put_open_turn("s", "t2", produced("t2", "b"))
        assert opened_turns(store) == {"t2": ["b"]}

    def test_a_file_of_another_program_takes_them(self, root: Path, tmp_path: Path) -> None:
        root.mkdir(mode=0o700)
        (root / "s.json").write_text(json.dumps({"session_id": "s", "messages": [{"role": "user", "content": "theirs"}]}))
        before = (root / "s.json").read_bytes()
        with DefaultSessionStore(root) as store:
            store.put_open_turn("s", "t", produced("t", "a"))
            assert (root / "s.json").read_bytes() == before
            assert opened_turns(store) == {"t": ["a"]}
            store.add_message("s", "user", "ours")
            assert opened_turns(store) == {"t": ["a"]}
            store.add_messages("s", produced("t", "a"), turn_id="t")
            assert (opened_turns(store), texts(store)) == ({}, ["theirs", "ours", "a"])


KILLED = """
from turnlog.backends.json_file import backend as module
from turnlog.session import SessionStore

store = SessionStore(backend)
store.add_message("s", "user", "first")
produced = [{"role": "user", "content": text, "id": "t " + text} for text in ("a", "b")]

def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

store.put_open_turn("s", "t", produced)
if sys.argv[2] == "before the append":
    from turnlog.backends.json_file.session_file import SessionFile
    SessionFile.append = die
elif sys.argv[2] == "before the drop":
    module.drop_turns = die
else:
    from turnlog.backends.json_file import turns
    turns.put_in_place = die
    store.put_open_turn("s", "t", [*produced, {"role": "user", "content": "c", "id": "t c"}])
store.add_messages("s", produced, turn_id="t")
"""


@pytest.mark.parametrize(
    ("point", "open_now", "history"),
    [
        ("before the append", {"t": ["a", "b"]}, ["first"]),
        ("before the drop", {}, ["first", "a", "b"]),
        ("amid a put", {"t": ["a", "b"]}, ["first"]),
    ],
)
def test_killed_at_any_point_a_turn_is_open_or_landed(root: Path, point: str, open_now: dict[str, list[str]], history: list[str]) -> None:
    process = start(KILLED, root, point)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == -signal.SIGKILL
    assert (root / "s.json.turns").exists()
    with DefaultSessionStore(root, durability="process") as store:
        assert (opened_turns(store), texts(store)) == (open_now, history)
        assert len(document(root / "s.json")["messages"]) == len(history)
        # Whoever sends it again has it stored once, and nothing is left.
        store.add_messages("s", produced("t", "a", "b"), turn_id="t")
        assert (opened_turns(store), texts(store)) == ({}, ["first", "a", "b"])
        assert beside(root / "s.json") == []


def test_a_full_disk_leaves_the_turn_as_it_was(store: SessionStore, root: Path, turns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put_open_turn("s", "t", produced("t", "a"))
    plain = os.pwrite

    def full(fd: int, data: Any, at: int) -> int:
        if os.readlink(f"/proc/self/fd/{fd}").endswith(".turns.tmp"):
            raise OSError(28, "No space left on device")
        return plain(fd, data, at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StorageError, match="No space left"):
            store.put_open_turn("s", "t", produced("t", "a", "b"))
    assert (opened_turns(store), beside(root / "s.json")) == ({"t": ["a"]}, [turns.name])
