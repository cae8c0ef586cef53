"""A session file as it was last seen: turnlog's own layout, or another program's read whole; loading either, and asking it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from turnlog.backends.json_file.files import SIDE, open_regular, set_time
from turnlog.backends.json_file.foreign import read_foreign
from turnlog.backends.json_file.front import Front, parse_front
from turnlog.backends.json_file.session_file import SessionFile, TornError, read_first_line
from turnlog.backends.json_file.side import Side, parse_side, with_changes
from turnlog.errors import CorruptSessionError, FormatVersionError
from turnlog.heads import Head
from turnlog.messages import Record

Stamp = tuple[int, int, int, int]
"""Inode, size, time, and time of the last change of any of these."""


@dataclass(slots=True)
class WholeFile:
    """A session file that another program wrote, read whole. The first write of ours lays it out anew."""

    path: str
    fd: int
    """Held open, so that no other file can have its inode number."""
    stamp: Stamp
    """Of the file that was read."""
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

    @property
    def never_ours(self) -> bool:
        """Whether turnlog has never written this session, as far as the file says."""
        return self.front.edition == 0

    def is_current(self) -> bool:
        """Whether the path still names this very file. Raises FileNotFoundError when it is gone."""
        return file_stamp(os.lstat(self.path)) == self.stamp

    def close(self) -> None:
        """Close the file. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


View = SessionFile | WholeFile


def file_stamp(found: os.stat_result) -> Stamp:
    """What tells one version of a file from another."""
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


# Loading --------------------------------------------------------------------------------------------------------------


def load_view(path: str, *, sync: bool, exclusive: bool) -> View | None:
    """Read a session file; None where it holds no session. Needs its lock; a torn end is repaired, or TornError without ``exclusive``.

    Raises FileNotFoundError, CorruptSessionError, FormatVersionError.
    """
    fd = open_regular(path)
    keep = False
    try:
        line = read_first_line(fd)
        front = _parsed(path, line) if line is not None else None
        if front is not None and line is not None:
            view = SessionFile(path, fd, front, len(line), sync=sync)
            side = load_side(path, front.head.born, front.edition)
            try:
                view.load_end(side)
            except TornError:
                if not exclusive:
                    raise
                modified = os.fstat(fd).st_mtime
                view.repair(side)
                # That is no change of the session: one whose time has run out must not live again.
                set_time(fd, modified)
            keep = True
            return view
        whole = _whole_file(path, fd)
        keep = whole is not None
        return whole
    finally:
        if not keep:
            os.close(fd)


def load_side(path: str, born: str, edition: int) -> Side | None:
    """The side file, if there is one of this edition of the document."""
    try:
        with open(open_regular(path + SIDE, os.O_RDONLY), "rb") as file:
            side = parse_side(file.read().decode())
    except FileNotFoundError:
        return None
    except FormatVersionError as error:
        raise _newer(path + SIDE, error) from None
    except (ValueError, RecursionError):
        raise CorruptSessionError(f"{path + SIDE} cannot be read: move the file away", path=path + SIDE) from None
    return side if (side.born, side.edition) == (born, edition) else None


def front_at(path: str) -> Front | None:
    """The front matter of a file of ours, whatever follows it; None for any other file."""
    fd = open_regular(path, os.O_RDONLY)
    try:
        line = read_first_line(fd)
        return _parsed(path, line) if line is not None else None
    finally:
        os.close(fd)


def _parsed(path: str, line: bytes) -> Front | None:
    try:
        return parse_front(line.decode())
    except FormatVersionError as error:
        raise _newer(path, error) from None
    except (ValueError, RecursionError):
        raise _unreadable(path) from None  # the parser's error carries the text


def _whole_file(path: str, fd: int) -> WholeFile | None:
    stamp = os.fstat(fd)
    pieces: list[bytes] = []
    at = 0
    while piece := os.pread(fd, 1024 * 1024, at):
        pieces.append(piece)
        at += len(piece)
    try:
        found = read_foreign(b"".join(pieces), modified=stamp.st_mtime)
    except FormatVersionError as error:
        raise _newer(path, error) from None
    except (ValueError, RecursionError):
        raise _unreadable(path) from None  # the parser's error carries the text
    if found is None:
        return None
    front, records = found
    side = load_side(path, front.head.born, front.edition)
    fields = with_changes(front.head.fields, side.fields) if side else front.head.fields
    front.head = replace(front.head, fields=fields, updated_at=stamp.st_mtime_ns / 1e9)
    if side:
        front.rows["draft"] = merged_drafts(front.rows.get("draft", {}), side.drafts)
    return WholeFile(path, fd, file_stamp(stamp), front, records)


def _newer(path: str, error: FormatVersionError) -> FormatVersionError:
    return FormatVersionError(f"{path}: {error}", path=path, **{name: value for name, value in vars(error).items() if name != "message"})


def _unreadable(path: str) -> CorruptSessionError:
    return CorruptSessionError(f"{path} cannot be read as a session: restore it from a backup, mend it, or move it away", path=path)


# Asking ---------------------------------------------------------------------------------------------------------------


def head_of(view: View) -> Head:
    """The head as it is now; its fields are the caller's."""
    head = view.current_head() if isinstance(view, SessionFile) else view.head
    return replace(head, fields=copied(head.fields)) if head.fields else head


def is_expired(view: View, now: float) -> bool:
    """Whether the session has lived its time; see Head.is_expired."""
    return view.head.ttl is not None and head_of(view).is_expired(now)


def front_of_view(view: View) -> Front:
    """All that the document says beside its messages, as of now."""
    if isinstance(view, WholeFile):
        return view.front
    front = view.read_front()
    # Rows show drafts that another process has written since the view was made.
    side = load_side(view.path, view.head.born, view.edition)
    if side is not None:
        front.rows["draft"] = merged_drafts(front.rows.get("draft", {}), side.drafts)
    return replace(front, head=view.current_head())


def view_records(view: View) -> list[Record]:
    """The records of the history, in its order."""
    return view.all_messages() if isinstance(view, SessionFile) else view.records


def read_view(view: View, start: int, stop: int) -> list[Record]:
    """The records with numbers ``start`` to ``stop``, by number."""
    if isinstance(view, SessionFile):
        return view.read(start, stop)
    return sorted(record for record in (*view.records, *view.front.aside) if start <= record.seq < stop)


def merged_drafts(rows: dict[str, str], drafts: dict[str, str | None]) -> dict[str, str]:
    """The draft rows of the document with those of the side file, where None marks one that was dropped."""
    return {key: body for key, body in {**rows, **drafts}.items() if body is not None}


def copied(value: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of JSON values."""
    return {key: _copied(each) for key, each in value.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value
