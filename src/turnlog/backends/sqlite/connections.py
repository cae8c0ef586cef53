"""Connections to one SQLite file: one that writes, one per thread that reads at the moment, none of them across a fork."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from threading import Condition, Lock, get_ident
from types import TracebackType
from typing import Any
from weakref import WeakSet

from turnlog.backends.sqlite.schema import Durability, connect, create_file, prepare
from turnlog.errors import ClosedStoreError, CorruptSessionError, LockTimeoutError, SessionError, StorageError

BUSY = 0.01
"""Seconds SQLite itself waits for a writer. Its pauses grow up to 100 ms and starve a process among busy ones, so it is asked anew."""

_BUSY_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_ERRNO = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR: errno.EIO, sqlite3.SQLITE_READONLY: errno.EROFS}


class Connections:
    """All connections of one backend. Threads share the writer one at a time; readers go on while it writes."""

    def __init__(self, path: str, durability: Durability, timeout: float, *, search: bool = False) -> None:
        self.path = path
        self._search = search
        self.indexes_words = False
        """Whether all that is stored is indexed, as the last connection that was opened found it."""
        self._durability = durability
        self._timeout = timeout
        self._start_afresh()
        self.closed = False
        with _registry:
            _everywhere.add(self)

    def _start_afresh(self) -> None:
        self.writing = Lock()
        self.writer_thread = 0
        self._writer: sqlite3.Cursor | None = None
        self._idle: list[sqlite3.Connection] = []
        self._readers = 0
        self._gate = Lock()
        self._turn = Condition(self._gate)
        self._forking = False
        self._stopped = self._quiet = False
        self._lost = False

    # Reading ----------------------------------------------------------------------------------------------------------

    def take(self) -> sqlite3.Connection:
        """A connection to read with, the writing one in the scope of a transaction; give it back."""
        if self.writer_thread == get_ident() and self._writer is not None:
            return self._writer.connection
        with self._gate:
            while self._forking:
                self._turn.wait()
            self._readers += 1
            if self._idle and not self.closed:
                return self._idle.pop()
        try:
            return self._open(self._timeout)
        except BaseException:
            with self._gate:
                self._readers -= 1
                self._turn.notify_all()
            raise

    def give(self, db: sqlite3.Connection) -> None:
        """Take back what ``take`` gave. One that a failure left in a transaction would see the past forever, and is closed."""
        if self.writer_thread == get_ident():
            return
        with self._gate:
            self._readers -= 1
            if self.closed or db.in_transaction:
                db.close()
            else:
                self._idle.append(db)
            if self._forking:
                self._turn.notify_all()

    # Writing ----------------------------------------------------------------------------------------------------------

    def lock(self) -> sqlite3.Cursor:
        """What to write with, for this thread alone until ``unlock``."""
        if not self.writing.acquire(False) and not self.writing.acquire(timeout=self._timeout):
            raise self._too_long()
        try:
            if self._writer is None or self.closed:
                self._writer = self._open(BUSY).cursor()
        except BaseException:
            self.writing.release()
            raise
        self.writer_thread = get_ident()
        return self._writer

    def unlock(self) -> None:
        """Let other threads write."""
        self.writer_thread = 0
        if self.closed:
            self._drop_writer()
        self.writing.release()

    def patiently(self, db: sqlite3.Cursor, statement: str, values: tuple[Any, ...] | dict[str, Any] = ()) -> None:
        """Run a statement that may have to wait for a writer in another process."""
        deadline = 0.0
        while True:
            try:
                db.execute(statement, values)
                return
            except sqlite3.OperationalError as error:
                if _code(error) not in _BUSY_CODES:
                    raise
                now = time.monotonic()
                deadline = deadline or now + self._timeout
                if now >= deadline:
                    raise self._too_long() from error

    def rebuild(self) -> None:
        """Write the file anew without free pages, and empty the write-ahead log."""
        db = self.lock()
        try:
            self.patiently(db, "VACUUM")
            deadline = time.monotonic() + self._timeout
            # The log can be emptied once no reader looks at it; its first column says whether one did.
            while db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() >= deadline:
                    raise self._too_long()
        except sqlite3.Error as error:
            raise self.named(error) from error
        finally:
            self.unlock()

    # Opening and closing ----------------------------------------------------------------------------------------------

    def _open(self, busy: float) -> sqlite3.Connection:
        if self.closed:
            raise ClosedStoreError(f"the store on {self.path} is closed: open a new one", path=self.path)
        if self._lost:
            text = "this process was forked in the middle of a transaction of its parent: open the store again"
            raise StorageError(text, path=self.path)
        try:
            create_file(self.path)
            db = connect(self.path, busy)
        except (OSError, sqlite3.Error) as error:
            raise self.named(error) from error
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self.indexes_words = prepare(db, self.path, self._durability, search=self._search)
                return db
            except (sqlite3.Error, UnicodeDecodeError) as error:
                # Whoever turns a new file to WAL needs it alone, and SQLite does not wait for that on either side.
                if _code(error) in _BUSY_CODES and time.monotonic() < deadline:
                    time.sleep(BUSY / 10)
                    continue
                db.close()
                raise self.named(error) from error
            except BaseException:
                db.close()
                raise

    def close(self) -> None:
        """Close what is idle now, and the rest when its verb ends."""
        with self._gate:
            self.closed = True
            self._close_idle()
        if self.writer_thread != get_ident() and self.writing.acquire(timeout=self._timeout):
            self._drop_writer()
            self.writing.release()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.connection.close()
            self._writer = None

    # Errors -----------------------------------------------------------------------------------------------------------

    def named(self, error: Exception) -> SessionError:
        """The error of ours for one of SQLite or of the file system."""
        if isinstance(error, SessionError):
            return error
        if isinstance(error, OSError):
            return StorageError(f"{self.path} cannot be used: {error}", path=self.path, errno=error.errno)
        if isinstance(error, UnicodeDecodeError):
            # What SQLite says of a damaged file may quote its bytes.
            return CorruptSessionError(f"{self.path} is damaged: it was left as it is, restore a copy", path=self.path)
        code = _code(error)
        if code in _BUSY_CODES:
            return self._too_long()
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            text = f"{self.path} is damaged or no SQLite database ({error}): it was left as it is, restore a copy"
            return CorruptSessionError(text, path=self.path)
        return StorageError(f"SQLite failed on {self.path}: {error}", path=self.path, errno=_ERRNO.get(code))

    def _too_long(self) -> LockTimeoutError:
        text = f"another writer held {self.path} longer than {self._timeout:g} seconds: try again, or raise timeout"
        return LockTimeoutError(text, path=self.path, timeout=self._timeout)

    # Forks ------------------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close every connection. SQLite keeps what a process has locked in that process: a child would believe it, and locks nothing."""
        self._stopped = self.writer_thread != get_ident() and self.writing.acquire(timeout=self._timeout)
        with self._gate:
            self._forking = True
            self._quiet = self._turn.wait_for(lambda: self._readers == 0, self._timeout)
            self._close_idle()
        if self._stopped:
            self._drop_writer()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._stopped:
            self.writing.release()
        with self._gate:
            self._forking = False
            self._turn.notify_all()

    def after_fork_in_child(self) -> None:
        """Begin with new locks; the old ones may be held by threads that are not here."""
        lost = not (self._stopped and self._quiet)
        if self._writer is not None:
            _left_open.append(self._writer)
        self._start_afresh()
        self._lost = lost


class Transaction:
    """``with`` a transaction; in the scope of one that this thread has begun, a part of it.

    ``undoable``: a failure undoes this part even if the scope goes on. SQLite's errors leave as ours, but for IntegrityError.
    """

    __slots__ = ("_connections", "_db", "_joined", "_undoable")

    def __init__(self, connections: Connections, *, undoable: bool = False) -> None:
        self._connections = connections
        self._undoable = undoable

    def __enter__(self) -> sqlite3.Cursor:
        connections = self._connections
        self._joined = connections.writer_thread == get_ident()
        if self._joined:
            self._db = connections.take().cursor()
            if self._undoable:
                self._db.execute("SAVEPOINT part")
            return self._db
        self._db = db = connections.lock()
        try:
            connections.patiently(db, "BEGIN IMMEDIATE")
        except BaseException as error:
            connections.unlock()
            if isinstance(error, sqlite3.Error):
                raise connections.named(error) from error
            raise
        return db

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._joined:
            if self._undoable and self._db.connection.in_transaction:
                if kind is not None:
                    self._db.execute("ROLLBACK TO part")
                self._db.execute("RELEASE part")
        else:
            try:
                self._db.execute("COMMIT" if kind is None else "ROLLBACK")
            except sqlite3.Error as failure:
                # SQLite has already undone the transaction after some errors; of others it is rid only now.
                if self._db.connection.in_transaction:
                    self._db.execute("ROLLBACK")
                if kind is None:
                    raise self._connections.named(failure) from failure
            finally:
                self._connections.unlock()
        if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
            raise self._connections.named(error) from error


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 for an error of the Python module itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


_everywhere: WeakSet[Connections] = WeakSet()
_registry = Lock()
_paused: list[Connections] = []
_left_open: list[sqlite3.Cursor] = []
"""Connections of a parent that was in a transaction: a child may not even close them."""


def _before_fork() -> None:
    _registry.acquire()
    _paused.extend(_everywhere)
    for connections in _paused:
        connections.before_fork()


def _after_fork_in_parent() -> None:
    while _paused:
        _paused.pop().after_fork_in_parent()
    _registry.release()


def _after_fork_in_child() -> None:
    while _paused:
        _paused.pop().after_fork_in_child()
    _registry.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
