"""Files of one directory: opening, creating, writing, renaming and setting aside, for their owner's eyes only, following no link."""

from __future__ import annotations

import os
from contextlib import suppress
from stat import S_ISREG

from turnlog.errors import StorageError

SIDE = ".side"
TURNS = ".turns"
TEMPORARY = ".tmp"
LOCK = ".lock"


def open_regular(path: str, flags: int = os.O_RDWR) -> int:
    """Open an existing file. Raises StorageError for what is no regular file."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise StorageError(f"{path} is no regular file: move it away", path=path)
    return fd


def create_new(path: str) -> int:
    """A new file; what a killed writer left under the name goes. Only the holder of the session's lock comes here."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, flags, 0o600)


def write_all(fd: int, data: bytes, at: int) -> None:
    """Write all of ``data`` at the offset ``at``, in as many calls as it takes."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, at)
        view, at = view[done:], at + done


def set_time(fd: int, seconds: float) -> None:
    """Make ``seconds`` since the epoch the file's time: what the kernel notes by itself is only exact to some milliseconds."""
    nanoseconds = int(seconds * 1e9)
    os.utime(fd, ns=(nanoseconds, nanoseconds))


def put_in_place(fd: int, temporary: str, path: str, *, sync: bool) -> None:
    """Give a file that is written whole its name; what had the name before is gone."""
    if sync:
        os.fsync(fd)
    os.rename(temporary, path)
    if sync:
        sync_directory(path)


def sync_directory(path: str) -> None:
    """Make the names in the directory of ``path`` survive power loss."""
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def set_aside(path: str, data: bytes, *, sync: bool) -> str:
    """Keep ``data`` in the first free ``<path>.torn-<n>``, and return that path."""
    number = 1
    while True:
        torn = f"{path}.torn-{number}"
        try:
            fd = os.open(torn, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            number += 1
            continue
        try:
            write_all(fd, data, 0)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        return torn


def make_directory(path: str, *, sync: bool) -> None:
    """Make the directory and those above it that are missing, all for their owner only."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for each in reversed(missing):
        # Another writer may make it first.
        with suppress(FileExistsError):
            os.mkdir(each, 0o700)
        if sync:
            sync_directory(each)


def remove(path: str) -> None:
    """Remove the file if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def remove_temporaries(path: str) -> None:
    """Remove what a killed writer left beside a document. Needs the session's lock, of either kind."""
    remove(path + TEMPORARY)
    remove(path + SIDE + TEMPORARY)
    remove(path + TURNS + TEMPORARY)


def remove_beside(path: str) -> None:
    """Remove all that lies beside a document, but for its lock: it holds the content of what was."""
    folder, name = os.path.split(path)
    for each in os.listdir(folder):
        if each.startswith(name + ".") and not each.endswith(LOCK):
            remove(os.path.join(folder, each))


def storage_error(error: OSError, path: str) -> StorageError:
    """An operating system's error as ours; it names the file and says nothing of its content."""
    found = StorageError(f"{path}: {error.strerror or type(error).__name__}", path=path)
    found.errno = error.errno
    return found
