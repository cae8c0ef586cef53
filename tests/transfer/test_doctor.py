"""The doctor: what it finds in both kinds of stores, that looking changes nothing, and that mending loses nothing."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.transfer.conftest import Place, bytes_under, say, state, written
from tests.transfer.test_own import filled
from turnlog.errors import UnsupportedVerbError
from turnlog.session import SessionStore, StoreUrlError
from turnlog.transfer import Finding, doctor_json, examine


def seen(findings: list[Finding]) -> list[tuple[str, str]]:
    """Kind and file name of each."""
    return [(finding.kind, Path(finding.path).name) for finding in findings]


class TestJson:
    @pytest.fixture
    def store(self, place: Place) -> SessionStore:
        store = place("json", "s")
        filled(store)
        return store

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "s"

    def test_nothing_is_wrong(self, store: SessionStore, folder: Path) -> None:
        store.add_messages("long", say(*["x" * 300] * 400))
        store.set_title("long", "kept in a side file")
        assert any(path.name.endswith(".side") for path in folder.iterdir())
        before = bytes_under(folder)
        assert examine(f"json://{folder}") == examine(f"json://{folder}", fix=True) == []
        assert examine(f"json://{folder}/none", fix=True) == []
        assert bytes_under(folder) == before

    def test_everything_is_found_and_nothing_is_changed(self, store: SessionStore, folder: Path) -> None:
        parent = folder / "parent.json"
        data = parent.read_bytes()
        (folder / "torn.json").write_bytes(data.replace(b"parent", b"torn")[:-40])
        written(folder / "list.json", [])
        (folder / "note.txt").write_text("x", encoding="utf-8")
        (folder / "under").mkdir()
        (folder / "link.json").symlink_to(parent)
        (folder / "copy.json").write_bytes(data)
        (folder / "broken.json").write_bytes(data[:200])
        newer = data.replace(b'"parent"', b'"newer"').replace(b'"turnlog":{"format":1', b'"turnlog":{"format":9')
        (folder / "newer.json").write_bytes(newer)
        # One byte amid a message: its line is whole, and says something else.
        (folder / "hurt.json").write_bytes(
            data.replace(b"parent", b"hurt").replace(b'"role":"user","content":"q"', b'"role":"user";"content":"q"')
        )
        (folder / "parent.json.torn-1").write_bytes(b"{")
        (folder / "old.json.corrupt-5").write_bytes(b"{")
        (folder / "parent.json.tmp").write_bytes(b"{")
        (folder / "tmpabc.tmp").write_bytes(b"{")
        (folder / "gone.json.side").write_bytes(b"{}")
        (folder / "parent.json.what").write_bytes(b"{")
        for path in folder.iterdir():
            if path.is_file() and not path.is_symlink():
                path.chmod(0o600)
        parent.chmod(0o644)
        folder.chmod(0o755)
        written(folder / "orphan.json", {"session_id": "orphan", "parent_id": "nobody", "messages": say("a")}).chmod(0o600)
        before = bytes_under(folder)
        found = examine(f"json://{folder}")
        assert bytes_under(folder) == before
        assert sorted(seen(found)) == [
            ("colliding", "copy.json"),
            ("corrupt", "broken.json"),
            ("corrupt", "hurt.json"),
            ("corrupt", "old.json.corrupt-5"),
            ("foreign", "link.json"),
            ("foreign", "list.json"),
            ("foreign", "note.txt"),
            ("foreign", "parent.json.what"),
            ("foreign", "under"),
            ("leftover", "gone.json.side"),
            ("leftover", "parent.json.tmp"),
            ("leftover", "tmpabc.tmp"),
            ("newer-format", "newer.json"),
            ("orphan", "orphan.json"),
            ("permissions", "parent.json"),
            ("permissions", "s"),
            ("torn", "parent.json.torn-1"),
            ("torn", "torn.json"),
        ]
        assert [finding.path for finding in found] == sorted(finding.path for finding in found)
        assert not any(finding.fixed for finding in found)

    def test_mending_loses_nothing(self, store: SessionStore, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        parent = folder / "parent.json"
        whole = state(store)
        data = parent.read_bytes()
        caplog.set_level("WARNING")
        parent.write_bytes(data[: data.rindex(b"\n]")] + b',\n{"role":"user","content":"cut')
        parent.chmod(0o640)
        folder.chmod(0o755)
        (folder / "empty.json.tmp").write_bytes(b"{")
        (folder / "empty.json.side.tmp").write_bytes(b"{")
        child = next(path for path in folder.iterdir() if "child" in path.name and path.suffix == ".json")
        child.rename(str(child) + ".corrupt-17")
        (folder / "note.txt").write_text("x", encoding="utf-8")
        (folder / "note.txt").chmod(0o600)
        assert examine(f"json://{folder}")
        assert caplog.messages == []
        found = examine(f"json://{folder}", fix=True)
        assert len(caplog.messages) == 2
        fixed = {(finding.kind, Path(finding.path).name): finding.fixed for finding in found}
        mended = [("torn", "parent.json"), ("permissions", "parent.json"), ("permissions", "s"), ("corrupt", child.name + ".corrupt-17")]
        assert all(fixed[each] for each in mended)
        assert fixed["leftover", "empty.json.tmp"] and fixed["leftover", "empty.json.side.tmp"]
        assert not fixed["foreign", "note.txt"]
        assert not fixed["torn", "parent.json.torn-1"]
        assert state(store) == whole
        assert (folder / "note.txt").exists()
        assert (parent.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
        assert seen(examine(f"json://{folder}")) == [("foreign", "note.txt"), ("torn", "parent.json.torn-1")]

    def test_damage_within_a_message(self, store: SessionStore, folder: Path) -> None:
        for text in "abc":
            store.add_message("spoken", "user", text)
        path = folder / "spoken.json"
        path.write_bytes(path.read_bytes().replace(b'"role":"user","content":"a"', b'"role":"user";"content":"a"'))
        assert seen(examine(f"json://{folder}", fix=True)) == [("corrupt", "spoken.json")]

    def test_a_look_amid_an_append(self, store: SessionStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = folder / "parent.json"
        whole = path.read_bytes()
        path.write_bytes(whole[:-30])
        lock = doctor_json.FileLock

        def when_the_append_is_done(document: str, timeout: float) -> object:
            path.write_bytes(whole)
            return lock(document, timeout)

        monkeypatch.setattr(doctor_json, "FileLock", when_the_append_is_done)
        assert examine(f"json://{folder}") == []

    def test_two_files_of_one_id(self, store: SessionStore, folder: Path) -> None:
        path = folder / "a%2fb.json"
        store.add_messages("a/b", say("ours"))
        theirs = written(folder / "a_b.json", {"session_id": "a/b", "messages": say("theirs")})
        theirs.chmod(0o600)
        assert path.exists()
        assert seen(examine(f"json://{folder}", fix=True)) == [("colliding", "a_b.json")]
        assert theirs.exists()

    def test_a_file_in_use_is_not_torn(self, store: SessionStore, folder: Path) -> None:
        program = (
            "import sys; from turnlog.session import open_store\n"
            "with open_store(sys.argv[1]) as s:\n"
            " for n in range(3000): s.add_message('busy', 'user', str(n) * 50)"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
        process = subprocess.Popen([sys.executable, "-c", program, f"json://{folder}?durability=process"], env=environment)
        looks = 0
        while process.poll() is None:
            assert examine(f"json://{folder}") == []
            looks += 1
        assert process.wait() == 0
        assert looks > 1
        assert len(store.get_messages("busy")) == 3000


class TestSqlite:
    @pytest.fixture
    def path(self, place: Place, tmp_path: Path) -> Path:
        store = place("sqlite", "s")
        filled(store)
        store.close()
        return tmp_path / "s.sqlite"

    def change(self, path: Path, *statements: str) -> None:
        db = sqlite3.connect(path)
        for statement in statements:
            db.execute(statement)
        db.commit()
        db.close()

    def test_nothing_is_wrong(self, path: Path, place: Place) -> None:
        before = bytes_under(path.parent)
        assert examine(f"sqlite://{path}") == examine(f"sqlite://{path}", fix=True) == []
        assert bytes_under(path.parent) == before
        assert examine(f"sqlite://{path.parent}/none.sqlite", fix=True) == []
        assert not (path.parent / "none.sqlite").exists()
        store = place("sqlite", "s")
        store.add_messages("parent", say("in the log"))
        assert path.with_name("s.sqlite-wal").stat().st_size > 0
        before = bytes_under(path.parent)
        assert examine(f"sqlite://{path}") == []
        assert bytes_under(path.parent) == before

    def test_a_file_in_use_is_whole(self, path: Path) -> None:
        program = (
            "import sys; from turnlog.session import open_store\n"
            "with open_store(sys.argv[1]) as s:\n"
            " for n in range(5000): s.add_message(f'busy{n % 9}', 'user', str(n) * 50)"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
        process = subprocess.Popen([sys.executable, "-c", program, f"sqlite://{path}?durability=process"], env=environment)
        looks = 0
        while process.poll() is None:
            assert examine(f"sqlite://{path}") == []
            looks += 1
        assert process.wait() == 0
        assert looks > 1

    def test_missing_rows_and_orphans(self, path: Path) -> None:
        self.change(path, "DELETE FROM records WHERE id = 'm1'", "UPDATE heads SET body = '{}' WHERE session_id = 'empty'")
        found = examine(f"sqlite://{path}")
        assert sorted(finding.text for finding in found) == [
            "session '../child' misses 1 of its 5 messages",
            "session 'grand🙂' misses 1 of its 5 messages",
            "session 'parent' misses 1 of its 6 messages",
            "the head of session 'empty', or its path, cannot be read",
        ]
        assert {finding.kind for finding in found} == {"corrupt"}

    def test_an_orphan(self, path: Path, place: Place) -> None:
        with place("sqlite", "s") as store:
            store.delete_session("parent")
        assert [(finding.kind, finding.text[:44]) for finding in examine(f"sqlite://{path}", fix=True)] == [
            ("orphan", "the parent 'parent' of session '../child' is")
        ]

    def test_what_a_crash_left_is_swept(self, path: Path, place: Place) -> None:
        with place("sqlite", "s") as store:
            whole = state(store)
        self.change(
            path,
            "INSERT INTO marks (run, session_id, parent, closed) VALUES ('r1', 'cleared', NULL, 0)",
            "INSERT INTO claims (run, child_run, session_id, child_id, stop) VALUES ('r2', 'r3', 'parent', 'unborn', 1)",
        )
        assert seen(examine(f"sqlite://{path}")) == [("leftover", "s.sqlite")] * 2
        assert [finding.fixed for finding in examine(f"sqlite://{path}", fix=True)] == [True, True]
        assert examine(f"sqlite://{path}") == []
        assert state(place("sqlite", "s")) == whole

    def test_rights(self, path: Path) -> None:
        path.chmod(0o644)
        assert [(finding.kind, finding.fixed) for finding in examine(f"sqlite://{path}", fix=True)] == [("permissions", True)]
        assert path.stat().st_mode & 0o777 == 0o600

    def test_damage(self, path: Path) -> None:
        data = bytearray(path.read_bytes())
        page = 4096
        data[3 * page : 8 * page] = b"\x55" * (5 * page)
        path.write_bytes(data)
        before = bytes_under(path.parent)
        found = examine(f"sqlite://{path}", fix=True)
        assert "corrupt" in {finding.kind for finding in found}
        assert bytes_under(path.parent) == before
        path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
        assert seen(examine(f"sqlite://{path}", fix=True)) == [("corrupt", "s.sqlite")]

    def test_other_files(self, path: Path) -> None:
        self.change(path, "PRAGMA user_version = 9")
        assert seen(examine(f"sqlite://{path}", fix=True)) == [("newer-format", "s.sqlite")]
        other = path.with_name("other.sqlite")
        self.change(other, "CREATE TABLE t (x)")
        other.chmod(0o600)
        assert seen(examine(f"sqlite://{other}", fix=True)) == [("foreign", "other.sqlite")]
        empty = path.with_name("empty.sqlite")
        empty.touch(0o600)
        assert [(finding.kind, finding.fixed) for finding in examine(f"sqlite://{empty}", fix=True)] == [("leftover", True)]


def test_what_it_does_not_know() -> None:
    with pytest.raises(UnsupportedVerbError, match="memory|Memory"):
        examine("memory://")
    with pytest.raises(StoreUrlError):
        examine("nowhere")


def test_findings_hold_no_content(place: Place, tmp_path: Path) -> None:
    store = place("json", "s")
    store.add_messages("s", say("secret"))
    path = tmp_path / "s" / "s.json"
    path.write_bytes(path.read_bytes().replace(b"secret", b'sec"ret'))
    found = examine(f"json://{tmp_path}/s")
    assert seen(found) == [("corrupt", "s.json")]
    assert "secret" not in json.dumps([[finding.text, finding.fix] for finding in found])
