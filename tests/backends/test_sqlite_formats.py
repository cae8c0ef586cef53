"""The formats of the SQLite file: old ones are upgraded in place, whoever is killed; the index of words; the schema."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.samples import a_head, record, run_threads
from tests.backends.test_sqlite_processes import finish, start_at_once
from turnlog.backends.port import Query
from turnlog.backends.sqlite import SqliteBackend, schema, schema_text
from turnlog.backends.sqlite.schema import APPLICATION_ID, VERSION
from turnlog.heads import Stretch

HERE = Path(__file__).parent


def written(path: Path, version: int) -> None:
    """A file as the release of that format wrote it; the text of the dump pins the format."""
    db = sqlite3.connect(path, isolation_level=None)
    db.create_function("turnlog_words", 1, schema.words_json, deterministic=True)
    db.executescript((HERE / f"sqlite_v{version}.sql").read_text(encoding="utf-8"))
    db.close()


def layout(path: Path) -> tuple[list[tuple[str, ...]], int]:
    """The tables, indexes and triggers of a file, each with its columns, whatever the blanks between; and its version."""
    db = sqlite3.connect(path)
    names = [(kind, name) for kind, name in db.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2")]
    columns = [(name, *sorted(str(column[1:4]) for column in db.execute(f"PRAGMA table_info({name})"))) for kind, name in names]
    (version,) = db.execute("PRAGMA user_version").fetchone()
    db.close()
    return [*names, *columns], version


@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_file_of_any_format_still_opens(version: int, search: bool, path: Path) -> None:
    written(path, version)
    backend = Driven(SqliteBackend(path, search=search))
    head = backend.get_head("chat-123")
    assert (head.revision, head.count, head.fields["title"]) == ("0123456789abcdef0123.2", 3, "Titel ü")
    stored = backend.read("chat-123", [Stretch(head.run, 0, 3)])
    assert [(r.seq, r.id, r.time, r.meta) for r in stored] == [(0, "a-0", 1.5, None), (1, "a-1", 2.5, '{"k":1}'), (2, "a-2", 3.5, None)]
    assert stored[1].body == '{"role":"assistant","content":"héllo 😀 \\ud800"}'
    assert backend.get_rows("chat-123", head.run, "snapshot") == {"snap": "{}"}
    assert backend.get_head("odd \x00\ud800").parent.session_id == "chat-123"
    assert len(backend.referenced_runs()) == 1
    assert len(backend.marked_runs()) == 1
    expired = [each.session_id for each in backend.list_heads(Query(expired_at=100.0), cursor=None, limit=9).heads]
    assert expired == ([] if version < 2 else ["brief"])
    assert backend.append("chat-123", [record("new")], now=9.0, expect=head.revision).messages == 4
    found = backend.find(["héllo", "new"], limit=9) if search or version > 1 else []
    assert [match.seq for match in found] == ([3, 1] if found else [])
    assert backend.backend.indexes_words is (search or version > 1)
    backend.close()
    fresh = path.with_name("fresh.db")
    again = Driven(SqliteBackend(fresh, search=search or version > 1))
    assert again.get_head("s") is None
    again.close()
    assert layout(path) == layout(fresh)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    db.close()


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("batch", [1, 2, 500])
def test_an_upgrade_that_is_killed_at_any_step_is_finished_by_the_next(
    batch: int, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "BATCH", batch)
    real = sqlite3.connect
    deaths = 0
    for step in range(200):
        path.unlink(missing_ok=True)
        for beside in tmp_path.glob("sessions.db-*"):
            beside.unlink()
        written(path, 1)
        left = step

        def trace(statement: str) -> None:
            nonlocal left
            if re.match(r"\s*(CREATE|ALTER|INSERT|UPDATE|DELETE|COMMIT|PRAGMA user_version =)", statement):
                left -= 1
                if left < 0:
                    raise Killed

        class Mortal(sqlite3.Connection):
            """Dies before its statement number ``step`` that writes."""

            def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
                trace(sql)
                return super().execute(sql, parameters)

            def executemany(self, sql: str, parameters: Any) -> sqlite3.Cursor:
                trace(sql)
                return super().executemany(sql, parameters)

        db = real(path, isolation_level=None, factory=Mortal)
        try:
            schema.prepare(db, str(path), "process", search=True)
            died = False
        except Killed:
            died = True
            deaths += 1
        finally:
            # Nothing of an open transaction outlives the process.
            db.close()
        again = Driven(SqliteBackend(path, durability="process", search=True))
        assert again.get_head("chat-123").count == 3
        assert [match.seq for match in again.find(["hello", "héllo"], limit=9)] == [1, 0]
        again.close()
        if not died:
            break
    assert deaths >= 10
    assert layout(path)[1] == VERSION


def test_sixteen_processes_upgrade_at_once(path: Path) -> None:
    written(path, 1)
    script = """
number = int(sys.argv[2])
backend = SqliteBackend(path, durability="process", timeout=30, search=number % 2 == 0)
drive(backend.append("chat-123", [record(f"m{number}")], now=3.0, expect=None))
print(drive(backend.get_head("chat-123")) is not None)
"""
    assert set(finish(*start_at_once(script, path, 16))) == {"True\n"}
    backend = Driven(SqliteBackend(path, search=True))
    assert backend.get_head("chat-123").count == 19
    assert len(backend.find([f"m{number}" for number in range(16)], limit=99)) == 16
    backend.close()


def test_the_index_is_made_in_steps_beside_a_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BATCH", 10)
    plain = Driven(SqliteBackend(path, durability="process", timeout=30))
    plain.put_head(a_head(), expect=None)
    plain.append("s", [record(f"m{number}", f"early n{number}") for number in range(300)], now=3.0, expect=None)
    searching = [Driven(SqliteBackend(path, durability="process", timeout=30, search=True)) for _ in range(4)]

    def work(number: int) -> None:
        if number == 4:
            for each in range(30):
                plain.append("s", [record(f"late{each}", "late")], now=4.0, expect=None)
            plain.drop_records("s", "r1", 0, 50)
        else:
            searching[number].get_head("s")

    run_threads(work, 5)
    for backend in searching:
        assert sorted(match.seq for match in backend.find(["early"], limit=1000)) == list(range(50, 300))
        assert len(backend.find(["late"], limit=1000)) == 30
        backend.close()
    plain.close()
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM unindexed").fetchone() == (0,)
    (words,) = db.execute("SELECT count(*) FROM words WHERE place NOT IN (SELECT place FROM records)").fetchone()
    assert words == 0
    db.close()


def test_compact_leaves_no_byte_of_an_indexed_word(path: Path) -> None:
    backend = Driven(SqliteBackend(path, durability="process", search=True))
    backend.put_head(a_head(), expect=None)
    backend.append("s", [record(f"m{number}", f"xyzzysecret n{number}") for number in range(50)], now=3.0, expect=None)
    backend.drop_records("s", "r1", 0, None)
    backend.compact()
    for file in path.parent.iterdir():
        assert b"xyzzysecret" not in file.read_bytes(), file.name
    backend.close()


@pytest.mark.parametrize("search", [False, True])
def test_the_schema_is_what_a_store_makes(search: bool, path: Path, tmp_path: Path) -> None:
    backend = Driven(SqliteBackend(tmp_path / "made.db", search=search))
    backend.get_head("s")
    backend.close()
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(schema_text(f"sqlite://{path}" + ("?search=1" if search else "")))
    db.close()
    assert layout(path) == layout(tmp_path / "made.db")
    opened = Driven(SqliteBackend(path))
    opened.put_head(a_head(), expect=None)
    opened.append("s", [record("a", "word")], now=3.0, expect=None)
    assert opened.backend.indexes_words is search
    opened.close()


def test_expired_heads_are_found_through_their_index(path: Path) -> None:
    backend = Driven(SqliteBackend(path, durability="process"))
    backend.put_head(a_head(ttl=5.0), expect=None)
    plans: list[str] = []
    read: Callable[..., Any] = backend.backend._read

    def explained(statement: str, values: Any = ()) -> Any:
        if "FROM heads" in statement:
            plans.append(str(read("EXPLAIN QUERY PLAN " + statement, values)))
        return read(statement, values)

    backend.backend._read = explained
    assert len(backend.list_heads(Query(expired_at=9.0), cursor=None, limit=5).heads) == 1
    assert "heads_by_expiry" in plans[0]
    backend.close()
