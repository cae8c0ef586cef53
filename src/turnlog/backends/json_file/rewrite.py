"""Writing a whole session file at once: a temporary file beside it, sync, rename; and what of another program's file becomes of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from turnlog.backends.json_file.document import iso_time, join_lines, message_text, tail_bytes, to_bytes
from turnlog.backends.json_file.front import Front, front_text
from turnlog.backends.json_file.session_file import KNOWN_IDS, SessionFile, write_all
from turnlog.backends.json_file.side import Side, side_text
from turnlog.heads import Head
from turnlog.messages import Record

TEMPORARY = ".tmp"
SIDE = ".side"
_CHUNK = 1024 * 1024


@dataclass(slots=True)
class WholeFile:
    """A session file that another program wrote, read whole. The first write of ours lays it out anew."""

    path: str
    stamp: tuple[int, int, int]
    """Inode, size and time of the file that was read."""
    front: Front
    records: list[Record]

    @property
    def head(self) -> Head:
        """The head as it is now."""
        return self.front.head

    @property
    def revision(self) -> str:
        """The head's revision."""
        return self.front.head.revision

    def is_current(self) -> bool:
        """Whether the path still names this very file. Raises FileNotFoundError when it is gone."""
        return file_stamp(os.stat(self.path)) == self.stamp

    def close(self) -> None:
        """Nothing is held open."""


def file_stamp(found: os.stat_result) -> tuple[int, int, int]:
    """What tells one version of a file from another."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def history_numbers(head: Head) -> list[int]:
    """The sequence numbers of the kept history, oldest first."""
    numbers = [seq for _, start, stop in head.past for seq in range(start, stop)]
    numbers += range(head.tail, head.length)
    return numbers[head.shed :]


def write_document(path: str, front: Front, records: list[Record], *, sync: bool, updated_at: str = "") -> SessionFile:
    """Write the file from values, and return it open."""
    lines = [message_text(record, record.seq) for record in records]
    front.in_order = all(one.seq < other.seq for one, other in zip(records, records[1:], strict=False))
    body = to_bytes(join_lines(lines)) if lines else b""
    written = _write(path, front, [body], updated_at or iso_time(front.head.updated_at), sync=sync)
    known = sorted([*records, *front.aside])[-KNOWN_IDS:]
    written.ids = {record.id: record.seq for record in known}
    return written


def write_front(old: SessionFile, front: Front, *, updated_at: str = "") -> SessionFile:
    """Write the file with another first line and the messages as they are, and return it open."""
    written = _write(old.path, front, _copied(old), updated_at or old.updated_at, sync=old.sync)
    written.ids = old.ids
    return written


def write_side(path: str, side: Side, *, sync: bool) -> None:
    """Write the side file at once."""
    fd = _create(path + SIDE + TEMPORARY)
    try:
        write_all(fd, to_bytes(side_text(side)), 0)
        _put_in_place(fd, path + SIDE + TEMPORARY, path + SIDE, sync=sync)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(path + SIDE + TEMPORARY)
        raise
    finally:
        os.close(fd)


def sync_directory(path: str) -> None:
    """Make the names in the directory of ``path`` survive power loss."""
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write(path: str, front: Front, body: Iterable[bytes], updated_at: str, *, sync: bool) -> SessionFile:
    front.edition += 1
    line = to_bytes(front_text(front))
    temporary = path + TEMPORARY
    fd = _create(temporary)
    try:
        write_all(fd, line, 0)
        end = len(line)
        for piece in body:
            write_all(fd, piece, end)
            end += len(piece)
        written = SessionFile(path, fd, front, len(line), sync=sync)
        written.end, written.empty, written.updated_at = end, end == len(line), updated_at
        written.tail = tail_bytes(updated_at, written.count, 0)
        written.size = end + len(written.tail)
        write_all(fd, written.tail, end)
        _put_in_place(fd, temporary, path, sync=sync)
    except BaseException:
        os.close(fd)
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    with suppress(FileNotFoundError):
        os.unlink(path + SIDE)
    return written


def _put_in_place(fd: int, temporary: str, path: str, *, sync: bool) -> None:
    if sync:
        os.fsync(fd)
    os.rename(temporary, path)
    if sync:
        sync_directory(path)


def _create(path: str) -> int:
    """A new file; what a killed writer left under the name goes. Only the holder of the session's lock comes here."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, flags, 0o600)


def _copied(old: SessionFile) -> Iterator[bytes]:
    at = old.start
    while at < old.end:
        piece = os.pread(old.fd, min(_CHUNK, old.end - at), at)
        yield piece
        at += len(piece)
