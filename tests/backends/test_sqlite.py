"""The SQLite backend as a file: who may read it, what it refuses, what it erases, which formats it knows."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.samples import a_head, all_ids, record
from turnlog.backends.sqlite import SqliteBackend
from turnlog.errors import (
    ClosedStoreError,
    CorruptSessionError,
    FormatVersionError,
    StorageError,
    UnsupportedVerbError,
)
from turnlog.heads import Stretch


class TestFile:
    def test_only_its_owner_may_look(self, tmp_path: Path) -> None:
        old = os.umask(0)
        try:
            backend = Driven(SqliteBackend(tmp_path / "a" / "b" / "sessions.db"))
            backend.put_head(a_head(), expect=None)
        finally:
            os.umask(old)
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in (tmp_path / "a").rglob("*")}
        assert modes == {"b": 0o700, "sessions.db": 0o600, "sessions.db-wal": 0o600, "sessions.db-shm": 0o600}
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
        backend.close()
        assert [entry.name for entry in (tmp_path / "a" / "b").iterdir()] == ["sessions.db"]

    def test_it_comes_to_be_with_the_first_verb(self, path: Path) -> None:
        backend = Driven(SqliteBackend(str(path)))
        assert not path.exists()
        assert backend.get_head("s") is None
        assert path.exists()
        backend.close()

    def test_the_path_does_not_move_with_the_working_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        backend = Driven(SqliteBackend("sessions.db"))
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        backend.put_head(a_head(), expect=None)
        backend.close()
        assert (tmp_path / "sessions.db").exists()

    @pytest.mark.parametrize("name", [":memory:", ""])
    def test_there_must_be_a_file(self, name: str) -> None:
        with pytest.raises(UnsupportedVerbError, match="InMemorySessionStore"):
            SqliteBackend(name)

    def test_the_durability_is_one_of_two(self, path: Path) -> None:
        with pytest.raises(UnsupportedVerbError, match="'never'"):
            SqliteBackend(path, durability="never")  # type: ignore[arg-type]

    def test_what_was_written_is_there_for_the_next(self, sqlite: Driven, path: Path) -> None:
        sqlite.append("s", [record("a"), record("b")], now=3.0, expect=None)
        sqlite.close()
        again = Driven(SqliteBackend(path))
        assert again.get_head("s") == a_head(counter=1, length=2, updated_at=3.0)
        assert all_ids(again) == ["a", "b"]
        again.close()

    @pytest.mark.parametrize(("durability", "synchronous"), [("power", 2), ("process", 1)])
    def test_the_durability_is_what_sqlite_calls_it(self, path: Path, durability: Any, synchronous: int) -> None:
        backend = SqliteBackend(path, durability=durability)
        Driven(backend).put_head(a_head(), expect=None)
        writer = backend._connections.lock()
        assert writer.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        backend._connections.unlock()
        Driven(backend).close()

    def test_after_close_nothing_works_and_closing_again_does(self, sqlite: Driven) -> None:
        sqlite.close()
        sqlite.close()
        for verb in (
            lambda: sqlite.get_head("s"),
            lambda: sqlite.append("s", [record("a")], now=1.0, expect=None),
            lambda: sqlite.put_head(a_head(), expect=None),
            lambda: sqlite.read("s", [Stretch("r1", 0, 1), Stretch("r1", 0, 1)]),
            sqlite.compact,
        ):
            with pytest.raises(ClosedStoreError):
                verb()

    def test_it_may_be_closed_while_others_use_it(self, sqlite: Driven) -> None:
        stored: list[int] = []
        ends: list[ClosedStoreError] = []
        started = threading.Event()

        def write() -> None:
            try:
                while True:
                    sqlite.append("s", [record(f"m{len(stored)}")], now=3.0, expect=None)
                    stored.append(len(stored))
                    sqlite.get_head("s")
                    if len(stored) == 50:
                        started.set()
            except ClosedStoreError as error:
                ends.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        assert started.wait(20)
        sqlite.close()
        thread.join()
        assert len(ends) == 1
        again = Driven(SqliteBackend(sqlite.backend.path))
        assert len(all_ids(again)) == len(stored)
        again.close()


class TestRefusals:
    def test_a_newer_format(self, sqlite: Driven, path: Path) -> None:
        sqlite.close()
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 3")
        db.close()
        with pytest.raises(FormatVersionError) as caught:
            Driven(SqliteBackend(path)).get_head("s")
        assert (caught.value.found, caught.value.supported) == (3, 2)  # type: ignore[attr-defined]

    @pytest.mark.parametrize("pragma", ["application_id = 7", "user_version = 4", "user_version = 0"])
    def test_a_database_of_somebody_else(self, path: Path, pragma: str) -> None:
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE recipes (name)")
        db.execute(f"PRAGMA {pragma}")
        db.commit()
        db.close()
        before = path.read_bytes()
        backend = Driven(SqliteBackend(path))
        for _ in range(2):
            with pytest.raises(CorruptSessionError, match="turnlog did not write") as caught:
                backend.put_head(a_head(), expect=None)
            assert caught.value.path == str(path)  # type: ignore[attr-defined]
        backend.close()
        assert path.read_bytes() == before

    def test_a_file_that_is_no_database(self, path: Path) -> None:
        path.write_text("Dear diary, " * 100)
        with pytest.raises(CorruptSessionError) as caught:
            Driven(SqliteBackend(path)).append("s", [record("a")], now=1.0, expect=None)
        assert caught.value.path == str(path)  # type: ignore[attr-defined]
        assert path.read_text() == "Dear diary, " * 100

    def test_a_damaged_file(self, sqlite: Driven, path: Path) -> None:
        sqlite.append("s", [record(f"m{number}", "x" * 500) for number in range(200)], now=3.0, expect=None)
        sqlite.close()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 60_000)
        damaged = Driven(SqliteBackend(path))
        with pytest.raises(CorruptSessionError):
            damaged.get_head("s")
        with pytest.raises(CorruptSessionError):
            damaged.append("s", [record("new")], now=3.0, expect=None)
        damaged.close()

    def test_a_head_that_is_no_json(self, sqlite: Driven, path: Path) -> None:
        db = sqlite3.connect(path)
        db.execute("UPDATE heads SET body = '[1'")
        db.commit()
        db.close()
        with pytest.raises(CorruptSessionError) as caught:
            sqlite.get_head("s")
        assert caught.value.session_id == "s"

    def test_a_head_that_ends_before_its_records(self, sqlite: Driven) -> None:
        sqlite.append("s", [record("a")], now=3.0, expect=None)
        assert sqlite.put_head(a_head(counter=2), expect="r1.1") is True
        for batch in ([record("b")], [record("b"), record("c")]):
            with pytest.raises(CorruptSessionError, match="behind its end"):
                sqlite.append("s", batch, now=3.0, expect=None)
        assert all_ids(sqlite) == ["a"]

    def test_an_empty_file_is_a_new_one(self, path: Path) -> None:
        path.touch()
        backend = Driven(SqliteBackend(path))
        assert backend.put_head(a_head(), expect=None) is True
        backend.close()

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StorageError) as caught:
            Driven(SqliteBackend(tmp_path / "file" / "sessions.db")).get_head("s")
        assert caught.value.errno is not None

    def test_a_folder_in_place_of_the_file(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError):
            Driven(SqliteBackend(tmp_path)).get_head("s")


class TestErasing:
    @pytest.mark.parametrize("size", [40, 90_000])
    def test_compact_leaves_no_byte_of_what_was_dropped(self, sqlite: Driven, path: Path, size: int) -> None:
        secret = "the secret word is xyzzy "
        sqlite.append("s", [record(f"m{number}", secret + "x" * size) for number in range(20)], now=3.0, expect=None)
        sqlite.put_row("s", "r1", "draft", "k", f'"{secret}"')
        fields = {"title": secret}
        sqlite.put_head(a_head(counter=2, length=20, fields=fields), expect="r1.1")
        sqlite.append("s", [record("kept")], now=3.0, expect=None)
        sqlite.put_head(a_head(counter=4, length=21), expect="r1.3")
        sqlite.drop_records("s", "r1", 0, 20)
        sqlite.drop_rows("s", "r1")
        sqlite.compact()
        for file in path.parent.iterdir():
            assert secret.encode() not in file.read_bytes(), file.name
        assert all_ids(sqlite) == ["kept"]
        assert path.stat().st_size < 150_000

    def test_numbers_of_runs_are_given_back(self, sqlite: Driven, path: Path) -> None:
        sqlite.append("s", [record("a")], now=3.0, expect=None)
        sqlite.remove_head("s", "r1")
        sqlite.drop_records("s", "r1", 0, None)
        sqlite.put_head(a_head(run="r2"), expect=None)
        sqlite.append("s", [record("b")], now=3.0, expect=None)
        assert all_ids(sqlite, "s", "r1") == []
        assert all_ids(sqlite, "s", "r2") == ["b"]
        db = sqlite3.connect(path)
        assert db.execute("SELECT run FROM runs").fetchall() == [("r2",)]
        db.close()
