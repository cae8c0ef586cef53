"""One open session file in turnlog's own layout: where it ends, append, read by number, repair of a torn end. Used under its lock."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from turnlog.backends.json_file.document import (
    LINE_END,
    MESSAGES,
    cut_records,
    iso_time,
    last_number,
    line_text,
    lines_from,
    message_text,
    parse_tail,
    tail_bytes,
    whole_lines,
)
from turnlog.backends.json_file.files import set_aside, set_time, write_all
from turnlog.backends.json_file.front import Front, parse_front
from turnlog.backends.json_file.side import Side, with_changes
from turnlog.errors import CorruptSessionError
from turnlog.heads import Head
from turnlog.messages import Record

KNOWN_IDS = 1024
"""Ids of at least that many newest messages are known."""
_BLOCK = 64 * 1024

log = logging.getLogger("turnlog")


class TornError(Exception):
    """The file does not end as it should; it must be repaired under the exclusive lock."""


class SessionFile:
    """A session file, and what is known of it as long as nobody else has changed it."""

    __slots__ = (
        "aside", "changes", "count_offset", "counter_offset", "edition", "empty", "end", "fd", "head", "identity", "ids", "in_order",
        "length", "path", "side", "size", "start", "sync", "tail", "updated_at",
    )  # fmt: skip

    def __init__(self, path: str, fd: int, front: Front, start: int, *, sync: bool) -> None:
        self.path, self.fd, self.sync = path, fd, sync
        self.start = start
        """Where the first line ends."""
        self.identity = os.fstat(fd).st_ino
        self.aside = bool(front.aside)
        self.in_order = front.in_order
        self.edition = front.edition
        self.head = front.head
        self.count_offset = self.head.past_count - self.head.tail - self.head.shed
        self.counter_offset = self.head.counter
        self.ids: dict[str, int] | None = None
        self.side: Side | None = None
        self.changes = 0
        self.length = self.head.length
        self.end = start
        self.empty = True
        self.tail = b""
        self.size = 0
        self.updated_at = ""

    # Where it ends ----------------------------------------------------------------------------------------------------

    def is_current(self) -> bool:
        """Whether the path still names this file and nothing was added to it. Raises FileNotFoundError when it is gone."""
        # As long as the file is open here no other file can have its inode number.
        return os.lstat(self.path).st_ino == self.identity and os.pread(self.fd, len(self.tail) + 1, self.end) == self.tail

    def load_end(self, side: Side | None) -> None:
        """Learn where the messages end and how many there are. Raises TornError."""
        size = os.fstat(self.fd).st_size
        take = _BLOCK
        while True:
            low = max(self.start, size - take)
            data = os.pread(self.fd, size - low, low)
            found = parse_tail(data)
            if found is None:
                raise TornError
            at, updated_at, count, changes = found
            line = data.rfind(b"\n", 0, at)
            if line >= 0 or (low == self.start and at == 0):
                break
            if low == self.start:
                raise TornError
            take *= 4
        if line >= 0:
            end, records = whole_lines(data[line + 1 : at])
            if not records or line + 1 + end != at:
                raise TornError
            self._note_last(records[-1].seq)
            self.empty = False
        self.end = low + at
        self._note_side(side)
        if (count, changes) != (self.count, self.changes):
            raise TornError
        self.tail = data[at:]
        self.size = size
        self.updated_at = updated_at

    def _note_last(self, seq: int) -> None:
        self.length = max(self.length, seq + 1)

    def _note_side(self, side: Side | None) -> None:
        self.side = side
        self.changes = side.changes if side else 0

    def take_side(self, side: Side, updated_at: float | None) -> None:
        """Note a side file that has just been put in place. ``updated_at``: when it changed fields; then the closing tail tells others."""
        known = self.changes
        self._note_side(side)
        if updated_at is not None or self.changes != known:
            self.write_tail()
        if updated_at is not None:
            set_time(self.fd, updated_at)
            if self.sync:
                os.fdatasync(self.fd)

    @property
    def count(self) -> int:
        """Messages in the kept history."""
        return self.length + self.count_offset

    @property
    def revision(self) -> str:
        """The head's revision."""
        return f"{self.head.run}.{self.counter}"

    @property
    def counter(self) -> int:
        """The head's counter: each message and each change of fields raises it."""
        return self.counter_offset + self.length - self.head.length + self.changes

    def current_head(self) -> Head:
        """The head as it is now; its fields are not the caller's to change."""
        fields = with_changes(self.head.fields, self.side.fields) if self.side else self.head.fields
        modified = os.fstat(self.fd).st_mtime_ns / 1e9
        return replace(self.head, counter=self.counter, length=self.length, updated_at=modified, fields=fields)

    def catch_up(self) -> None:
        """Take in what others have appended since. Raises TornError when that is not whole."""
        size = os.fstat(self.fd).st_size
        data = os.pread(self.fd, size - self.end, self.end) if size - self.end <= 64 * _BLOCK else b""
        found = parse_tail(data)
        lead = 1 if self.empty else 2
        if found is None or found[0] < lead:
            self.ids = None
            self.load_end(self.side)
            return
        at, updated_at, count, changes = found
        end, records = whole_lines(data[lead:at])
        if lead + end != at or data[:lead] != (b"\n" if self.empty else b",\n"):
            raise TornError
        ids = self.ids
        if ids is not None:
            ids.update((record.id, record.seq) for record in records)
        self._note_last(records[-1].seq)
        self.empty = False
        self.end += at
        if (count, changes) != (self.count, self.changes):
            raise TornError
        self.tail, self.size, self.updated_at = data[at:], size, updated_at

    def repair(self, side: Side | None) -> None:
        """Keep the last whole line, set aside what follows it, and write the closing tail anew. Needs the exclusive lock."""
        size = os.fstat(self.fd).st_size
        low, data = self._last_lines(size)
        end, records = whole_lines(data)
        last = records[-1].seq if records else -1
        rest = data[end:]
        tail = parse_tail(rest)
        # One append that was cut short leaves one line at most, and no closing tail that counts it.
        counted = tail is not None and tail[2] > max(self.length, last + 1) + self.count_offset
        if self._last_written() > last or counted or rest.count(b'\n{"role":') > 1:
            raise CorruptSessionError(
                f"{self.path} has lost messages from its middle: restore the file from a backup, or mend it by hand", path=self.path
            )
        self.end = low + end if records else self.start
        self.empty = not records
        if records:
            self._note_last(records[-1].seq)
        self._note_side(side)
        self.ids = None
        rest = os.pread(self.fd, size - self.end, self.end)
        if b"{" in rest:
            torn = set_aside(self.path, rest, sync=self.sync)
            log.warning("%s ended in an append that was cut short; it is set aside in %s", self.path, torn)
        self.updated_at = self.updated_at or iso_time(os.fstat(self.fd).st_mtime)
        self.write_tail()
        os.ftruncate(self.fd, self.size)
        if self.sync:
            os.fdatasync(self.fd)

    def _last_written(self) -> int:
        """The number of the last message that the file held when it was last rewritten; -1 for none. No torn append reaches there."""
        head = self.head
        if head.count <= 0:
            return -1
        return head.length - 1 if head.tail < head.length else head.past[-1].stop - 1

    def write_tail(self) -> None:
        """Write the closing tail as it should be."""
        self.tail = tail_bytes(self.updated_at, self.count, self.changes)
        write_all(self.fd, self.tail, self.end)
        self.size = self.end + len(self.tail)

    def _last_lines(self, size: int) -> tuple[int, bytes]:
        """The place and bytes from the last line on that is surely whole, at least; from the first line where there is none."""
        take = _BLOCK
        while True:
            low = max(self.start, size - take)
            data = os.pread(self.fd, size - low, low)
            at = len(data)
            while (at := data.rfind(b"\n", 0, at)) >= 0:
                if whole_lines(data[at + 1 :])[1]:
                    return low + at + 1, data[at + 1 :]
            if low == self.start:
                return self.start + 1, data[1:]
            take *= 4

    # Append -----------------------------------------------------------------------------------------------------------

    def append(self, records: Sequence[Record], now: float) -> None:
        """Write the records behind the last message, all or none. The caller has made sure that the file is current."""
        old = self.tail
        seq = self.length
        text = line_text(records, seq) if len(records) > 1 else message_text(records[0], seq)
        line = (f"\n{text}" if self.empty else f",\n{text}").encode()
        updated_at = iso_time(now)
        tail = tail_bytes(updated_at, seq + len(records) + self.count_offset, self.changes)
        data = line + tail
        try:
            if os.pwrite(self.fd, data, self.end) != len(data):
                write_all(self.fd, data, self.end)
            set_time(self.fd, now)
            if self.sync:
                os.fdatasync(self.fd)
        except OSError:
            # What was not synced must not be found by a retry: that would count it as stored.
            write_all(self.fd, old, self.end)
            os.ftruncate(self.fd, self.size)
            raise
        self.end += len(line)
        self.empty = False
        self.size = self.end + len(tail)
        self.tail = tail
        self.updated_at = updated_at
        self.length = seq + len(records)
        ids = self.ids
        if ids is not None:
            for at, record in enumerate(records, seq):
                ids[record.id] = at
            if len(ids) > 2 * KNOWN_IDS:
                self.ids = dict(islice(ids.items(), len(ids) - KNOWN_IDS, None))

    # Read -------------------------------------------------------------------------------------------------------------

    def known_ids(self) -> dict[str, int]:
        """Ids and numbers of the newest messages, set-aside ones among them."""
        if self.ids is None:
            records = self.read(max(0, self.length - KNOWN_IDS), self.length)
            self.ids = {record.id: record.seq for record in records}
        return self.ids

    def read(self, start: int, stop: int) -> list[Record]:
        """Records with the numbers ``start`` to ``stop``, by number; what is not there is left out. Raises CorruptSessionError."""
        if start >= stop:
            return []
        records = self._in_messages(start, min(stop, self.length))
        if self.aside and len(records) < stop - start:
            records += [record for record in self.read_front().aside if start <= record.seq < stop]
            records.sort()
        elif not self.in_order:
            records.sort()
        return records

    def all_messages(self) -> list[Record]:
        """Every record of the document, in the order of the history."""
        return self._parse(self._region(self.start, self.end))

    def read_front(self) -> Front:
        """The first line, parsed anew; nothing of it but the head is kept in memory."""
        front = parse_front(os.pread(self.fd, self.start, 0).decode())
        assert front is not None
        return front

    def _in_messages(self, start: int, stop: int) -> list[Record]:
        if self.empty or start >= stop:
            return []
        if not self.in_order:
            return [record for record in self.all_messages() if start <= record.seq < stop]
        if stop >= self.length and (lines := self._last(self.length - start)):
            return [record for record in self._parse(lines_from(lines, start)) if record.seq >= start]
        low = self._boundary(start)
        high = self.end if stop >= self.length else self._boundary(stop, above=True)
        return [record for record in self._parse(self._region(low, high)) if start <= record.seq < stop]

    def _last(self, wanted: int) -> bytes:
        """The last ``wanted`` lines, which hold at least so many messages; b"" where a first guess of their size was too small."""
        size = self.end - self.start
        low = max(self.start, self.end - max(_BLOCK // 8, 2 * wanted * size // self.length))
        data = os.pread(self.fd, self.end - low, low)
        before, *lines = data.rsplit(b"\n", wanted)
        return data[len(before) + 1 :] if lines and (len(lines) == wanted or low == self.start) else b""

    def _region(self, low: int, high: int) -> bytes:
        """The bytes of the lines from boundary ``low`` (the newline before a line) to ``high``."""
        return os.pread(self.fd, high - low - 1, low + 1) if high > low else b""

    def _parse(self, data: bytes) -> list[Record]:
        if not data:
            return []
        try:
            return cut_records(data[:-1].decode() if data.endswith(b",") else data.decode())
        except (ValueError, RecursionError):
            raise CorruptSessionError(
                f"{self.path} holds messages that cannot be read: restore the file from a backup, or mend it by hand", path=self.path
            ) from None  # the parser's error carries the text

    def _boundary(self, seq: int, *, above: bool = False) -> int:
        """A newline, all messages before which have numbers below ``seq``, close before ``seq``; ``above``: close after it instead.

        With ``above`` all messages from there on have numbers of ``seq`` or more, or it is the end.
        """
        low, high = self.start, self.end
        wanted = self.length - seq
        near = self.end - max(_BLOCK // 4, 2 * wanted * (self.end - self.start) // max(1, self.length))
        if not above and near > low:
            found = self._newline(near, high)
            if found is not None and self._number_before(found) < seq:
                low = found
        while high - low > _BLOCK // 2:
            found = self._newline((low + high) // 2, high)
            if found is None:
                high = (low + high) // 2
            elif self._number_before(found) < seq:
                low = found
            else:
                high = found
        if not above:
            return low
        at = low
        while True:
            found = self._newline(at + 1, self.end)
            if found is None:
                return self.end
            if self._number_before(found) >= seq - 1:
                return found
            at = found

    def _newline(self, at: int, high: int) -> int | None:
        """The first newline from ``at`` on and before ``high``."""
        while at < high:
            data = os.pread(self.fd, min(4096, high - at), at)
            found = data.find(b"\n")
            if found >= 0:
                return at + found
            at += len(data)
        return None

    def _number_before(self, newline: int) -> int:
        if newline == self.start:
            return -1
        low = max(self.start, newline - LINE_END)
        number = last_number(os.pread(self.fd, newline - low, low))
        if number is None:
            raise CorruptSessionError(
                f"{self.path} holds a line that is no message: restore the file from a backup, or mend it by hand", path=self.path
            )
        return number

    def close(self) -> None:
        """Close the file. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def read_first_line(fd: int) -> bytes | None:
    """The front matter without its newline; None where the file does not begin with turnlog's."""
    mark = MESSAGES.encode() + b"\n"
    data = os.pread(fd, 4096, 0)
    while True:
        at = data.find(b"\n")
        if at >= 0:
            return data[:at] if data.startswith(mark, at + 1 - len(mark)) else None
        more = os.pread(fd, max(_BLOCK, len(data)), len(data))
        if not more:
            # Cut right behind the front matter.
            return data if data.endswith(MESSAGES.encode()) else None
        data += more
