"""The floors: the least that anything must do that keeps messages in such a file, written by hand with nothing around it."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from pathlib import Path

SYNCHRONOUS = {"power": "FULL", "process": "NORMAL"}


class JsonLines:
    """Appends a message to a file under a lock: ``json.dumps``, flock, pwrite, fdatasync where asked for, unlock."""

    def __init__(self, path: Path, durability: str) -> None:
        self._power = durability == "power"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = os.fstat(self._file).st_size

    def add(self, role: str, content: str) -> None:
        """One message, one line."""
        line = json.dumps({"role": role, "content": content}).encode() + b"\n"
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.pwrite(self._file, line, self._end)
        if self._power:
            os.fdatasync(self._file)
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._end += len(line)

    def settle(self) -> None:
        """Bring to the disk what was written so far."""
        os.fsync(self._file)

    def close(self) -> None:
        """Close both files."""
        os.close(self._file)
        os.close(self._lock)


class SqliteRows:
    """Appends a message to a copy of turnlog's own file, so with the same tables and indexes, by four bare statements."""

    def __init__(self, path: Path, durability: str) -> None:
        self.db = bare(path, durability)
        self._prefix = os.urandom(9).hex()
        self._count = 0
        self._session_id = ""
        self._number = self._length = 0

    def choose(self, session_id: str) -> None:
        """The session that messages go to from now on."""
        statement = "SELECT run_number, length FROM heads WHERE session_id = ?"
        self._number, self._length = self.db.execute(statement, (session_id,)).fetchone()
        self._session_id = session_id

    def add(self, role: str, content: str) -> None:
        """One message: the row of its session raised, its own row inserted."""
        db, now = self.db, time.time()
        self._count += 1
        body = json.dumps({"role": role, "content": content})
        record = (self._number << 32 | self._length, self._number, f"{self._prefix}-{self._count:x}", now, body, None)
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            "UPDATE heads SET counter = counter + 1, length = length + 1, updated_at = ? WHERE session_id = ?", (now, self._session_id)
        )
        db.execute("INSERT INTO records (place, run_number, id, time, body, meta) VALUES (?, ?, ?, ?, ?, ?)", record)
        db.execute("COMMIT")
        self._length += 1

    def close(self) -> None:
        """Close the file."""
        self.db.close()


class OneRow:
    """Writes one small row, in a transaction of its own, to a table with a key."""

    def __init__(self, path: Path, durability: str) -> None:
        self.db = bare(path, durability)
        self.db.execute("CREATE TABLE IF NOT EXISTS written (key TEXT PRIMARY KEY, body TEXT NOT NULL)")
        self._body = json.dumps({"born": os.urandom(10).hex(), "created_at": time.time(), "note": "x" * 120})

    def write(self) -> None:
        """One row."""
        self.db.execute("INSERT INTO written (key, body) VALUES (?, ?)", (os.urandom(10).hex(), self._body))

    def close(self) -> None:
        """Close the file."""
        self.db.close()


def bare(path: Path, durability: str) -> sqlite3.Connection:
    """A connection with a write-ahead log that commits as durably as turnlog's."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
    return db


def parse(lines: list[str]) -> list[object]:
    """What reading messages costs at least: ``json.loads`` of each line."""
    return [json.loads(line) for line in lines]
