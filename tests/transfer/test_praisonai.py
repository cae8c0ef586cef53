"""Sessions of the real praisonaiagents: its directory and its transcript files; torn, reordered and hostile ones."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.transfer.conftest import Place, bytes_under, names, say, state, texts, written
from turnlog.session import DefaultSessionStore, SessionStore
from turnlog.transfer import BrokenImportError, UnknownFormatError, detect_format, import_path
from turnlog.transfer.carrying import Carrier

PROGRAM = str(Path(__file__).with_name("praisonai_program.py"))
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def made(run_python: Run, tmp_path: Path) -> dict[str, Any]:
    """What praisonaiagents has written under ``tmp_path``, and what it says of it."""
    made: dict[str, Any] = json.loads(run_python(PROGRAM, str(tmp_path)).stdout.splitlines()[-1])
    return made


def test_a_directory(made: dict[str, Any], target: SessionStore, tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    before = bytes_under(folder)
    assert detect_format(folder) == "praisonai"
    report = import_path(target, folder)
    assert (report.sessions, report.skipped) == (4, ())
    child = made["child"]
    assert names(target) == {"parent", child, "tools/x", "long"}
    assert texts(target, "parent") == made["parent"]
    assert texts(target, child) == [f"parent {number} 🙂" for number in range(4)] + ["child"]
    assert (target.get_parent(child), target.get_children("parent")) == ("parent", [child])
    assert target.get_session("parent").title == "Main"
    assert texts(target, "long") == [f"long {number}" for number in range(12)]
    history = target.get_chat_history("tools/x")
    assert [message["role"] for message in history] == ["user", "assistant", "tool"]
    session = target.get_session("tools/x")
    assert (session.agent_name, session.user_id, session.metadata["model"]) == ("Agent", "user-1", "gpt")
    (snapshot,) = target.get_snapshots("parent")
    assert (snapshot.label, snapshot.message_index) == ("six", 5)
    target.revert_to_snapshot("parent", snapshot.id)
    assert texts(target, "parent") == [f"parent {number} 🙂" for number in range(6)]
    assert bytes_under(folder) == before


def test_twice_and_the_times(made: dict[str, Any], target: SessionStore, tmp_path: Path) -> None:
    import_path(target, tmp_path / "sessions")
    before = state(target)
    report = import_path(target, tmp_path / "sessions")
    assert (report.sessions, report.already_there, report.skipped) == (0, 4, ())
    assert state(target) == before
    raw = json.loads((tmp_path / "sessions" / "tools_x.json").read_text(encoding="utf-8"))
    assert [message.timestamp for message in target.get_messages("tools/x")] == [message["timestamp"] for message in raw["messages"]]
    assert target.get_session("tools/x").created_at == raw["created_at"]


def test_one_file(made: dict[str, Any], target: SessionStore, tmp_path: Path) -> None:
    path = tmp_path / "sessions" / "tools_x.json"
    assert detect_format(path) == "praisonai"
    assert import_path(target, path, session_id="named").messages == 3
    assert names(target) == {"named"}


def test_a_transcript_file(made: dict[str, Any], target: SessionStore, tmp_path: Path) -> None:
    path = tmp_path / "t" / "sessions.db"
    assert detect_format(path) == "praisonai"
    report = import_path(target, path)
    assert (report.sessions, report.messages, report.skipped) == (2, 4, ())
    assert texts(target, "row/1") == ["row 0", "row 1", "row 2"]
    assert import_path(target, path).already_there == 2


def test_broken_transcript_files(made: dict[str, Any], target: SessionStore, tmp_path: Path) -> None:
    path = tmp_path / "t" / "sessions.db"
    with sqlite3.connect(path) as db:
        rows = [("torn", '{"session_id": "torn", "mess'), ("a", '{"session_id": "b"}'), ("list", "[]"), ("bytes", b"\xff"), ("", "{}")]
        rows.append(("../../x", json.dumps({"session_id": "../../x", "messages": say("ok")})))
        db.executemany("INSERT INTO sessions (session_id, data) VALUES (?, ?)", rows)
    db.close()
    report = import_path(target, path)
    assert names(target) == {"row/1", "row2", "../../x"}
    assert len(report.skipped) == 5
    data = bytearray(path.read_bytes())
    data[4096:20000] = b"\x55" * (20000 - 4096)
    path.write_bytes(data)
    with pytest.raises(BrokenImportError, match="get the file anew"):
        import_path(target, path, format="praisonai")
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(UnknownFormatError, match="copied"):
        detect_format(other)


def test_a_directory_with_broken_files(made: dict[str, Any], target: SessionStore, tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    whole = (folder / "long.json").read_bytes()
    (folder / "torn.json").write_bytes(whole[: len(whole) // 2])
    written(folder / "list.json", [])
    written(folder / "numbers.json", {"session_id": 5})
    written(folder / "odd.json", {"session_id": "odd", "messages": [None, *say("a"), "x"]})
    written(folder / "hostile.json", {"session_id": "../../etc/passwd", "parent_id": "../x", "messages": [{"content": "b"}], "own": 1})
    written(
        folder / "refs.json",
        {"session_id": "refs", "messages": say("a"), "snapshots": [{"transcript_refs": {"messages": {"items": ["9"]}}}]},
    )
    (folder / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    (folder / "link.json").symlink_to("long.json")
    shutil.copy(tmp_path / "t" / "sessions.db", folder / "sessions.db")
    report = import_path(target, folder)
    assert report.sessions == 7
    assert {"odd", "refs", "../../etc/passwd"} <= names(target)
    assert sorted(skip.name for skip in report.skipped) == [
        *("deep.json", "link.json", "list.json", "numbers.json", "odd: messages[0]", "odd: messages[2]"),
        *("refs: snapshots", "sessions.db", "torn.json"),
    ]
    assert target.get_chat_history("../../etc/passwd") == [{"role": "user", "content": "b"}]
    assert target.get_session("../../etc/passwd").parent_id == "../x"
    hostile = Carrier(target).take("../../etc/passwd")
    assert hostile is not None
    assert hostile.fields["own"] == 1


def test_a_circle_of_parents(target: SessionStore, tmp_path: Path) -> None:
    for name, parent in (("a", "b"), ("b", "a")):
        written(tmp_path / f"{name}.json", {"session_id": name, "parent_id": parent, "messages": say(name)})
    report = import_path(target, tmp_path)
    assert (report.sessions, len(report.skipped)) == (2, 1)
    assert names(target) == {"a", "b"}


def test_files_that_turnlog_keeps_are_to_be_copied(place: Place, tmp_path: Path) -> None:
    with DefaultSessionStore(tmp_path / "own") as store:
        store.add_messages("s", say("a"))
    target = place("memory")
    report = import_path(target, tmp_path / "own")
    assert [skip.name for skip in report.skipped] == ["s"]
    assert "copy the store" in report.skipped[0].reason
    assert names(target) == set()
