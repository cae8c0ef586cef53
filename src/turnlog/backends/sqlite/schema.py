"""The SQLite file: its tables, its version, how it comes to be and how a connection to it is opened."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from turnlog.errors import CorruptSessionError, FormatVersionError, StorageError
from turnlog.words import words_of_body

Durability = Literal["power", "process"]

APPLICATION_ID = 0x74756C67
"""Bytes 68 to 71 of the file: "tulg"."""
VERSION = 2

TABLES = """
CREATE TABLE heads (
    number INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    run TEXT NOT NULL,
    run_number INTEGER,
    counter INTEGER NOT NULL,
    length INTEGER NOT NULL,
    count_offset INTEGER NOT NULL,
    updated_at REAL NOT NULL,
    agent_name TEXT,
    user_id TEXT,
    parent_id TEXT,
    body TEXT NOT NULL,
    ttl REAL
);
CREATE INDEX heads_by_time ON heads (updated_at, session_id);
CREATE INDEX heads_by_agent ON heads (agent_name, updated_at, session_id) WHERE agent_name IS NOT NULL;
CREATE INDEX heads_by_user ON heads (user_id, updated_at, session_id) WHERE user_id IS NOT NULL;
CREATE INDEX heads_by_parent ON heads (parent_id, updated_at, session_id) WHERE parent_id IS NOT NULL;
CREATE INDEX heads_by_expiry ON heads (updated_at + ttl) WHERE ttl IS NOT NULL;
CREATE INDEX heads_by_run ON heads (run_number) WHERE run_number IS NOT NULL;

CREATE TABLE runs (number INTEGER PRIMARY KEY, run TEXT NOT NULL UNIQUE);
CREATE TABLE records (
    place INTEGER PRIMARY KEY,
    run_number INTEGER NOT NULL,
    id TEXT NOT NULL,
    time REAL NOT NULL,
    body TEXT NOT NULL,
    meta TEXT,
    UNIQUE (run_number, id)
);
CREATE TABLE rows (
    number INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (run, kind, key)
);
CREATE TABLE claims (
    run TEXT NOT NULL,
    child_run TEXT NOT NULL,
    session_id TEXT NOT NULL,
    child_id TEXT NOT NULL,
    stop INTEGER NOT NULL,
    PRIMARY KEY (run, child_run)
) WITHOUT ROWID;
CREATE TABLE marks (
    run TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL,
    parent TEXT,
    closed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX marks_by_session ON marks (session_id);
"""

UPGRADES = {
    1: """
ALTER TABLE heads ADD COLUMN ttl REAL;
CREATE INDEX heads_by_expiry ON heads (updated_at + ttl) WHERE ttl IS NOT NULL;
CREATE INDEX heads_by_run ON heads (run_number) WHERE run_number IS NOT NULL;
""",
}
"""By version: the statements that make the next version of it; one transaction each."""

WORDS = """
CREATE TABLE words (word TEXT NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (word, place)) WITHOUT ROWID;
CREATE TABLE unindexed (place INTEGER NOT NULL);
INSERT INTO unindexed SELECT min(place) FROM records HAVING count(*);
CREATE TRIGGER words_of_new AFTER INSERT ON records BEGIN
    INSERT OR IGNORE INTO words (word, place) SELECT value, new.place FROM json_each(turnlog_words(new.body));
END;
CREATE TRIGGER words_of_gone AFTER DELETE ON records BEGIN
    DELETE FROM words WHERE place = old.place AND word IN (SELECT value FROM json_each(turnlog_words(old.body)));
END;
"""
"""The index of words. Its triggers make every writer keep it, whatever it was opened with. ``unindexed`` holds the place from which on
records of before still wait for it, and is empty once all have been seen."""
BATCH = 500
"""Records that are indexed in one transaction, so that other writers wait but a moment."""

_creating = Lock()
_SYNCHRONOUS = {"power": "FULL", "process": "NORMAL"}


def create_file(path: str) -> None:
    """Make the file, readable by its owner only, and the folders above it, unless they are there.

    SQLite gives its -wal and -shm files the same rights.
    """
    missing = [folder for folder in Path(path).parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    # Closing a file drops every POSIX lock that this process holds on it, so nobody may open the new file before it is closed here.
    with _creating:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return
    for folder in {Path(path).parent, *(folder.parent for folder in missing)}:
        _sync_folder(folder)


def connect(path: str, busy: float) -> sqlite3.Connection:
    """A connection that waits ``busy`` seconds for locks and commits only by COMMIT; the file need not hold tables yet."""
    return sqlite3.connect(path, timeout=busy, isolation_level=None, check_same_thread=False)


def prepare(db: sqlite3.Connection, path: str, durability: Durability, *, search: bool) -> bool:
    """Check that the file is ours and of a version we know; write the tables into an empty one, and upgrade an older one.

    ``search``: also index the words of what is stored. Says whether all is indexed. Safe to race, to be killed and to repeat.
    """
    db.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
    if durability == "power":
        # On macOS an fsync alone stops at the disk's own cache; elsewhere these two say nothing.
        db.execute("PRAGMA fullfsync = 1")
        db.execute("PRAGMA checkpoint_fullfsync = 1")
    # What is erased is overwritten where that costs no further page; compact() removes the rest.
    db.execute("PRAGMA secure_delete = FAST")
    # Ids and tables must be read as of one moment: another process may be writing the tables now.
    db.create_function("turnlog_words", 1, words_json, deterministic=True)
    with _transaction(db, "BEGIN"):
        version = _version(db, path)
        indexed = version == VERSION and _is_indexed(db)
    if indexed or (version == VERSION and not search):
        return indexed
    if db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise StorageError(f"{path} lies where SQLite cannot share a log between processes: use a local file system", path=path)
    with _transaction(db, "BEGIN IMMEDIATE"):
        version = _version(db, path)
        if not version:
            _run(db, TABLES)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for older in range(version or VERSION, VERSION):
            _run(db, UPGRADES[older])
        db.execute(f"PRAGMA user_version = {VERSION}")
        if search and not _has_words(db):
            _run(db, WORDS)
    while search:
        with _transaction(db, "BEGIN IMMEDIATE"):
            if _is_indexed(db):
                break
            _index_batch(db)
    return search


def schema_text(url: str) -> str:
    """The statements that make the tables of the store at ``url``, with ``search=1`` those of its index of words too."""
    words = "1" in parse_qs(urlsplit(url).query).get("search", [])
    statements = [TABLES, f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {VERSION};\n"]
    if words:
        statements.append("-- turnlog_words is a function of turnlog's own connections: only they can add or erase messages.\n" + WORDS)
    return "PRAGMA journal_mode = WAL;\nBEGIN;\n" + "\n".join(statements) + "COMMIT;\n"


@contextmanager
def _transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _run(db: sqlite3.Connection, statements: str) -> None:
    statement = ""
    for line in statements.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""


def _has_words(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'words'").fetchone() is not None


def _is_indexed(db: sqlite3.Connection) -> bool:
    return _has_words(db) and db.execute("SELECT 1 FROM unindexed").fetchone() is None


def _index_batch(db: sqlite3.Connection) -> None:
    """Index the next records that were there before the index. New ones may be among them: then nothing changes."""
    (start,) = db.execute("SELECT place FROM unindexed").fetchone()
    rows = db.execute("SELECT place, body FROM records WHERE place >= ? ORDER BY place LIMIT ?", (start, BATCH)).fetchall()
    words = ((word, place) for place, body in rows for word in words_of_body(body))
    db.executemany("INSERT OR IGNORE INTO words (word, place) VALUES (?, ?)", words)
    if len(rows) < BATCH:
        db.execute("DELETE FROM unindexed")
    else:
        db.execute("UPDATE unindexed SET place = ?", (rows[-1][0] + 1,))


def words_json(body: str) -> str:
    """The words of a message as a JSON list, for SQL."""
    return json.dumps(words_of_body(body))


def _version(db: sqlite3.Connection, path: str) -> int:
    """The version of our tables, 0 where there are none yet. Raises for a file that is not ours, or too new."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION_ID and 1 <= version <= VERSION:
        return int(version)
    if application == APPLICATION_ID and version > VERSION:
        text = f"{path} has format {version}, this turnlog knows formats up to {VERSION}: use a newer turnlog"
        raise FormatVersionError(text, path=path, found=version, supported=VERSION)
    if application == 0 and version == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        return 0
    text = f"{path} is a database that turnlog did not write: give the store a path of its own"
    raise CorruptSessionError(text, path=path)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
