"""One lock file held by flock: exclusive or shared, with a timeout; the lock that praisonaiagents takes for the same session."""

from __future__ import annotations

import os
import threading
import time
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock

from turnlog.backends.json_file.files import LOCK
from turnlog.errors import LockTimeoutError

_FIRST_PAUSE = 0.00005
_LONGEST_PAUSE = 0.001
_PATIENCE = 0.01
"""Seconds of looking again and again, after which it pays to be woken: most locks are held for less."""


class FileLock:
    """The lock of the document ``path``. Its file stays open between uses and is never removed, so that all programs lock the same one.

    flock belongs to the open file, not to the thread: one FileLock must be used by one thread at a time.
    """

    __slots__ = ("fd", "path", "timeout", "was_there")

    def __init__(self, document: str, timeout: float) -> None:
        self.path = document + LOCK
        self.timeout = timeout
        self.was_there = True
        """Whether the lock file was there before, and so perhaps the document."""
        try:
            self.fd = _open(self.path, 0)
        except FileNotFoundError:
            self.was_there = False
            self.fd = _open(self.path, os.O_CREAT)

    def acquire(self, *, shared: bool = False) -> None:
        """Take the lock. Raises LockTimeoutError, FileNotFoundError where the directory is gone.

        Looks again and again for a while, then waits to be woken, so that whoever waits in the kernel does not always come first.
        """
        kind = LOCK_SH if shared else LOCK_EX
        begun = None
        pause = _FIRST_PAUSE
        while True:
            try:
                flock(self.fd, kind | LOCK_NB)
            except BlockingIOError:
                now = time.monotonic()
                begun = begun or now
                left = begun + self.timeout - now
                if left <= 0:
                    raise timed_out(self.path, self.timeout) from None
                if now < begun + _PATIENCE:
                    time.sleep(min(pause, left))
                    pause = min(pause * 1.5, _LONGEST_PAUSE)
                    continue
                fd = _Waiter(self.path, kind).fd_within(left)
                if fd is None:
                    continue
                os.close(self.fd)
                self.fd = fd
            if os.fstat(self.fd).st_nlink:
                return
            # Somebody removed the lock file: whoever comes now locks a new one, so this one guards nothing.
            self.close()
            self.fd = _open(self.path, os.O_CREAT)

    def release(self) -> None:
        """Give the lock back."""
        flock(self.fd, LOCK_UN)

    def close(self) -> None:
        """Give the lock back and close the file. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            # A process that was forked meanwhile has the file open too, and would keep the lock.
            flock(fd, LOCK_UN)
            os.close(fd)

    def abandon(self) -> None:
        """Close the file in a forked child; the lock stays the parent's."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def timed_out(path: str, timeout: float) -> LockTimeoutError:
    """The error of a lock that did not come free in time."""
    text = f"{path} was locked by another writer for {timeout} s: nothing was written, try again"
    return LockTimeoutError(text, path=path, timeout=timeout)


def _open(path: str, create: int) -> int:
    return os.open(path, os.O_RDWR | create | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


class _Waiter:
    """A thread that waits in the kernel for the lock, on an open file of its own: flock itself knows no timeout."""

    def __init__(self, path: str, kind: int) -> None:
        self._fd, self._kind = _open(path, os.O_CREAT), kind
        self._guard = threading.Lock()
        self._done = threading.Event()
        self._wanted = True
        threading.Thread(target=self._wait, name="turnlog lock", daemon=True).start()

    def fd_within(self, seconds: float) -> int | None:
        """The file with the lock; None where it did not come free, and then it is given back as soon as it is."""
        try:
            self._done.wait(seconds)
        finally:
            with self._guard:
                self._wanted = False
                granted = self._done.is_set()
        return self._fd if granted else None

    def _wait(self) -> None:
        flock(self._fd, self._kind)
        with self._guard:
            if self._wanted:
                self._done.set()
                return
        flock(self._fd, LOCK_UN)
        os.close(self._fd)
