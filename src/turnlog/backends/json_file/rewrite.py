"""Writing a whole session file, or a side file, at once: a temporary file beside it, sync, rename."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from turnlog.backends.json_file.document import iso_time, join_lines, message_text, tail_bytes, to_bytes
from turnlog.backends.json_file.files import SIDE, TEMPORARY, create_new, put_in_place, remove, set_time, write_all
from turnlog.backends.json_file.front import Front, front_text
from turnlog.backends.json_file.session_file import KNOWN_IDS, SessionFile
from turnlog.backends.json_file.side import Side, side_text
from turnlog.heads import Head
from turnlog.messages import Record

_CHUNK = 1024 * 1024


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
    temporary = path + SIDE + TEMPORARY
    fd = create_new(temporary)
    try:
        write_all(fd, to_bytes(side_text(side)), 0)
        put_in_place(fd, temporary, path + SIDE, sync=sync)
    except BaseException:
        remove(temporary)
        raise
    finally:
        os.close(fd)


def _write(path: str, front: Front, body: Iterable[bytes], updated_at: str, *, sync: bool) -> SessionFile:
    front.edition += 1
    line = to_bytes(front_text(front))
    temporary = path + TEMPORARY
    fd = create_new(temporary)
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
        set_time(fd, front.head.updated_at)
        put_in_place(fd, temporary, path, sync=sync)
        remove(path + SIDE)
    except BaseException:
        os.close(fd)
        remove(temporary)
        raise
    return written


def _copied(old: SessionFile) -> Iterator[bytes]:
    at = old.start
    while at < old.end:
        piece = os.pread(old.fd, min(_CHUNK, old.end - at), at)
        if not piece:
            raise OSError(f"{old.path} grew shorter while it was read")
        yield piece
        at += len(piece)
