"""The doctor's look at a SQLite file of turnlog's."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from stat import S_IMODE
from urllib.parse import quote

from turnlog import tree
from turnlog.backends.head_json import decode_head
from turnlog.backends.sqlite.backend import RUN_SHIFT
from turnlog.backends.sqlite.schema import APPLICATION_ID, VERSION
from turnlog.backends.text_keys import from_key, to_key
from turnlog.errors import CorruptSessionError, StorageError
from turnlog.heads import Head, PathRef, Stretch
from turnlog.store.branching import is_parent
from turnlog.store.sync import SessionStore
from turnlog.transfer.findings import OTHERS, Finding

BESIDE = ("", "-wal", "-shm")
ATTEMPTS = 2
_SWEEP = "a sweep erases them"
_HEADS = "SELECT session_id, body, run, counter, length, updated_at FROM heads ORDER BY session_id"
_UNERASED = """
SELECT count(*) FROM marks WHERE NOT EXISTS (SELECT 1 FROM claims WHERE claims.run = marks.run)
    AND NOT EXISTS (SELECT 1 FROM heads WHERE heads.session_id = marks.session_id AND heads.run = marks.run)
    AND ifnull(json_extract(parent, '$[1]'), 'known') <> ''
"""
"""Marks whose runs nothing needs; not those of forks that must never come to be, which stay."""
_UNBORN = """
SELECT count(*) FROM claims WHERE NOT EXISTS (SELECT 1 FROM heads WHERE heads.session_id = claims.child_id AND heads.run = claims.child_run)
    AND NOT EXISTS (SELECT 1 FROM claims AS below WHERE below.run = claims.child_run)
"""


def look(path: str) -> list[Finding]:
    """All findings. Reads the file, or a copy of it where a log lies beside it, and writes nothing."""
    if not os.path.lexists(path):
        return []
    found = list(_loose(path))
    try:
        with _reading(path) as db:
            found += _of_version(path, db) or [*_damage(path, db), *_unswept(path, db), *_of_heads(path, db)]
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{path}: {error.strerror}", path=path) from error
    except sqlite3.Error as error:
        found.append(Finding("corrupt", path, f"SQLite cannot read it ({error})", "restore a copy"))
    return found


def mend(store: SessionStore, found: list[Finding]) -> None:
    """Do what is safe: rights, and the sweep."""
    for finding in found:
        if finding.kind == "permissions":
            with suppress(OSError):
                os.chmod(finding.path, 0o600)
    if any(finding.kind == "leftover" for finding in found) and not any(finding.kind == "corrupt" for finding in found):
        store.sweep()


@contextmanager
def _reading(path: str) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing: SQLite would write to the log's index, so a database with a log is looked at in a copy.

    One that is written to without a pause is read like by any reader, whose lock shows in that index.
    """
    with tempfile.TemporaryDirectory() as folder:
        place, mode = path, "immutable=1"
        if _size(path + "-wal"):
            copy = os.path.join(folder, "copy")
            place, mode = (copy, "mode=rw") if _copied(path, copy) else (path, "mode=ro")
        db = sqlite3.connect(f"file:{quote(place)}?{mode}", uri=True)
        try:
            yield db
        finally:
            db.close()


def _copied(path: str, copy: str) -> bool:
    """Make a copy of database and log of one moment; False where the store is written to without a pause."""
    for _ in range(ATTEMPTS):
        before = [_stamp(path + suffix) for suffix in BESIDE[:2]]
        for suffix in BESIDE[:2]:
            with suppress(FileNotFoundError):
                shutil.copyfile(path + suffix, copy + suffix)
        if [_stamp(path + suffix) for suffix in BESIDE[:2]] == before:
            return True
    return False


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _loose(path: str) -> Iterator[Finding]:
    for suffix in BESIDE:
        with suppress(FileNotFoundError):
            mode = S_IMODE(os.lstat(path + suffix).st_mode)
            if mode & OTHERS:
                yield Finding("permissions", path + suffix, f"others than its owner have rights on it ({mode:04o})", "it gets 0600")


def _of_version(path: str, db: sqlite3.Connection) -> list[Finding]:
    """The one finding about a file that is not ours, or too new to be looked at."""
    (application,), (version,) = (db.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version"))
    if application != APPLICATION_ID:
        if db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            return [Finding("leftover", path, "the file is empty: a writer was killed before its first write", "the next use fills it")]
        return [Finding("foreign", path, "turnlog did not write this database", "give the store a path of its own")]
    if version > VERSION:
        return [Finding("newer-format", path, f"it has format {version}, this turnlog knows up to {VERSION}", "use a newer turnlog")]
    return []


def _damage(path: str, db: sqlite3.Connection) -> Iterator[Finding]:
    for (text,) in db.execute("PRAGMA integrity_check"):
        if text != "ok":
            yield Finding("corrupt", path, f"integrity_check: {text}", "restore a copy")


def _unswept(path: str, db: sqlite3.Connection) -> Iterator[Finding]:
    (runs,) = db.execute(_UNERASED).fetchone()
    if runs:
        yield Finding("leftover", path, f"{runs} cleared or deleted histories whose erasure a crash cut short", _SWEEP)
    (claims,) = db.execute(_UNBORN).fetchone()
    if claims:
        yield Finding("leftover", path, f"{claims} claims of forks that never came to be", "a sweep drops them")


def _of_heads(path: str, db: sqlite3.Connection) -> Iterator[Finding]:
    """Sessions that miss messages, and forks whose parent is gone."""
    for key, body, *moving in db.execute(_HEADS).fetchall():
        name = from_key(key)
        try:
            head = decode_head(body, name, *moving)
            missing = head.count - sum(_stored(db, span) for span in _spans(db, head))
        except (CorruptSessionError, ValueError, TypeError, KeyError):
            yield Finding("corrupt", path, f"the head of session {name!r:.80}, or its path, cannot be read", "restore a copy")
            continue
        if missing:
            text = f"session {name!r:.80} misses {missing} of its {head.count} messages"
            yield Finding("corrupt", path, text, "restore a copy")
        if head.parent is not None:
            row = db.execute(_HEADS.replace("ORDER BY session_id", "WHERE session_id = ?"), (to_key(head.parent.session_id),)).fetchone()
            if row is None or not is_parent(decode_head(row[1], head.parent.session_id, *row[2:]), head):
                text = f"the parent {head.parent.session_id!r:.80} of session {name!r:.80} is gone; the session itself is whole"
                yield Finding("orphan", path, text, "nothing need be done")


def _spans(db: sqlite3.Connection, head: Head) -> list[Stretch]:
    older = _older(db, head.path) if head.path else []
    return tree.cut_spans([*older, *head.past, Stretch(head.run, head.tail, head.length)], head.shed, head.shed + head.count)


def _older(db: sqlite3.Connection, ref: PathRef) -> list[Stretch]:
    row = db.execute("SELECT body FROM rows WHERE run = ? AND kind = 'path' AND key = ?", ref).fetchone()
    if row is None:
        raise KeyError(ref.key)
    path = tree.decode_path(json.loads(row[0]), ref.run)
    return [*(stretch for page, _ in path.pages for stretch in _older(db, page)), *path.stretches]


def _stored(db: sqlite3.Connection, span: Stretch) -> int:
    number = db.execute("SELECT number FROM runs WHERE run = ?", (span.run,)).fetchone()
    if number is None:
        return 0
    base = number[0] << RUN_SHIFT
    (count,) = db.execute("SELECT count(*) FROM records WHERE place >= ? AND place < ?", (base + span.start, base + span.stop)).fetchone()
    return int(count)
