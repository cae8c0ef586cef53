"""The SQLite file: its tables, its version, how it comes to be and how a connection to it is opened."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Literal

from turnlog.errors import CorruptSessionError, FormatVersionError, StorageError

Durability = Literal["power", "process"]

APPLICATION_ID = 0x74756C67
"""Bytes 68 to 71 of the file: "tulg"."""
VERSION = 1

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
    body TEXT NOT NULL
);
CREATE INDEX heads_by_time ON heads (updated_at, session_id);
CREATE INDEX heads_by_agent ON heads (agent_name, updated_at, session_id) WHERE agent_name IS NOT NULL;
CREATE INDEX heads_by_user ON heads (user_id, updated_at, session_id) WHERE user_id IS NOT NULL;
CREATE INDEX heads_by_parent ON heads (parent_id, updated_at, session_id) WHERE parent_id IS NOT NULL;

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


def prepare(db: sqlite3.Connection, path: str, durability: Durability) -> None:
    """Check that the file is ours and of a version we know; write the tables into an empty one. Safe to race and to repeat."""
    db.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
    if durability == "power":
        # On macOS an fsync alone stops at the disk's own cache; elsewhere these two say nothing.
        db.execute("PRAGMA fullfsync = 1")
        db.execute("PRAGMA checkpoint_fullfsync = 1")
    # What is erased is overwritten where that costs no further page; compact() removes the rest.
    db.execute("PRAGMA secure_delete = FAST")
    # Ids and tables must be read as of one moment: another process may be writing the tables now.
    with _transaction(db, "BEGIN"):
        if _stands(db, path):
            return
    if db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise StorageError(f"{path} lies where SQLite cannot share a log between processes: use a local file system", path=path)
    with _transaction(db, "BEGIN IMMEDIATE"):
        if not _stands(db, path):
            for statement in TABLES.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def _transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _stands(db: sqlite3.Connection, path: str) -> bool:
    """Whether our tables are there. Raises for a file that is not ours, or too new."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION_ID and version == VERSION:
        return True
    if application == APPLICATION_ID and version > VERSION:
        text = f"{path} has format {version}, this turnlog knows formats up to {VERSION}: use a newer turnlog"
        raise FormatVersionError(text, path=path, found=version, supported=VERSION)
    if application == 0 and version == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        return False
    text = f"{path} is a database that turnlog did not write: give the store a path of its own"
    raise CorruptSessionError(text, path=path)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
