"""One lock file held by flock: exclusive or shared, with a timeout; the lock that praisonaiagents takes for the same session."""

from __future__ import annotations

import os
import time
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock

from turnlog.errors import LockTimeoutError

_FIRST_PAUSE = 0.00005
_LONGEST_PAUSE = 0.002


class FileLock:
    """Keeps its lock file open between uses; the file is never removed, so that all programs lock the same one.

    flock belongs to the open file, not to the thread: one FileLock must be used by one thread at a time.
    """

    __slots__ = ("fd", "path", "timeout")

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self.timeout = timeout
        self.fd = _open(path)

    def acquire(self, *, shared: bool = False) -> None:
        """Take the lock. Raises LockTimeoutError."""
        kind = (LOCK_SH if shared else LOCK_EX) | LOCK_NB
        deadline = None
        pause = _FIRST_PAUSE
        while True:
            try:
                flock(self.fd, kind)
            except BlockingIOError:
                now = time.monotonic()
                deadline = deadline or now + self.timeout
                if now >= deadline:
                    raise LockTimeoutError(
                        f"{self.path} was locked by another writer for {self.timeout} s: nothing was written, try again",
                        path=self.path,
                        timeout=self.timeout,
                    ) from None
                time.sleep(min(pause, deadline - now))
                pause = min(pause * 1.5, _LONGEST_PAUSE)
                continue
            if os.fstat(self.fd).st_nlink:
                return
            # Somebody removed the lock file: whoever comes now locks a new one, so this one guards nothing.
            os.close(self.fd)
            self.fd = _open(self.path)

    def release(self) -> None:
        """Give the lock back."""
        flock(self.fd, LOCK_UN)

    def close(self) -> None:
        """Close the file, which gives the lock back too. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
