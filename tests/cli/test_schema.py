"""schema: what it prints, and where there is none; sessions that expire in listings."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from tests.cli.conftest import Run
from turnlog.session import SessionStore


def test_the_schema_of_sqlite_makes_the_tables(run: Run, tmp_path: Path) -> None:
    printed = run("schema", f"sqlite://{tmp_path}/new.sqlite?search=1&ttl=60").stdout
    db = sqlite3.connect(tmp_path / "made.sqlite")
    db.executescript(printed)
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    db.close()
    assert {"heads", "records", "words", "words_of_gone"} <= tables
    assert not (tmp_path / "new.sqlite").exists()
    assert "words" not in run("schema", f"sqlite://{tmp_path}/new.sqlite").stdout


def test_files_and_memory_have_none(run: Run) -> None:
    for url in ("json:///tmp/x", "memory://"):
        assert "needs nothing to be made" in run("schema", url, status=1).stderr
    assert "no store URL" in run("schema", "sessions.db", status=1).stderr
    assert "no installed backend" in run("schema", "nothing://x", status=1).stderr


def test_when_sessions_expire_is_shown_where_one_does(run: Run, store: SessionStore, read: Any) -> None:
    assert "EXPIRES" not in run("list").stdout
    assert "expires" not in run("show", "other").stdout
    store.set_session_ttl("other", 3600)
    lines = run("list").stdout.splitlines()
    assert lines[0].split()[-1] == "EXPIRES"
    assert "  expires " in run("show", "other").stdout
    assert "  expires " not in run("show", "trip").stdout
    assert {line["session_id"]: line["expires_at"] is not None for line in read("list")} == {
        "other": True,
        "trip": False,
        "trip-train": False,
    }
