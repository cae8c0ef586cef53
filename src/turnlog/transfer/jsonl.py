"""JSON lines as OpenAI's tools read and write them: one message a line is one session; one ``{"messages": [...]}`` a line is many."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, BinaryIO

from turnlog.errors import InvalidMessageError, SessionError
from turnlog.messages import Record, check_session_id, encode_message, json_copy
from turnlog.transfer.carried import Carried
from turnlog.transfer.report import BrokenImportError, Skip


class JsonLines:
    """A file of JSON lines opened for reading bytes. ``name``: the session's id, or what the sessions' ids begin with."""

    def __init__(self, file: BinaryIO, path: str, name: str | None, when: float) -> None:
        self.path = path
        self.bytes_read = 0
        self._file = file
        self._name = check_session_id(name or PurePath(path).stem or "session")
        self._when = when
        """The time of messages that name none, in seconds since the epoch."""

    def sessions(self) -> Iterator[Carried | Skip]:
        """What the lines hold. A line of many sessions that cannot be read is a Skip; one of a single session BrokenImportError."""
        records: list[Record] = []
        several = False
        for number, line in self._lines():
            value = _parsed(line)
            if not records and not several:
                several = isinstance(value, Mapping) and "messages" in value and "role" not in value
            if several:
                yield self._session(value, f"{self._name}-{number}", f"line {number} ")
            else:
                records.append(self._message(value, number, len(records)))
        if records:
            check_ids(records)
            yield Carried(self._name, records, records[0].time, records[-1].time)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines that are not empty, with their numbers from 1 on."""
        for number, line in enumerate(self._file, 1):
            self.bytes_read += len(line)
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield number, line

    def _message(self, value: object, number: int, place: int) -> Record:
        try:
            if not isinstance(value, Mapping):
                raise InvalidMessageError("is no JSON object")
            if "messages" in value and "role" not in value:
                raise InvalidMessageError("is a conversation, and the lines before it are messages")
            return record_of(value, self._name, place, self._when)
        except SessionError as refusal:
            text = f"{self.path}: line {number} cannot be a message of the session, and nothing of it was stored: {refusal}"
            raise BrokenImportError(text, path=self.path) from refusal

    def _session(self, value: object, name: str, place: str) -> Carried | Skip:
        try:
            if not isinstance(value, Mapping) or not isinstance(value.get("messages"), list):
                raise InvalidMessageError('is no JSON object with a list of "messages"')
            wrong = next((index for index, message in enumerate(value["messages"]) if not isinstance(message, Mapping)), None)
            if wrong is not None:
                raise InvalidMessageError(f"holds messages of which number {wrong} is no object")
            records = [record_of(message, name, index, self._when) for index, message in enumerate(value["messages"])]
            check_ids(records)
            rest = {key: each for key, each in value.items() if key != "messages"}
            fields = {"metadata": json_copy(rest, "the line")} if rest else {}
            return Carried(check_session_id(name), records, self._when, self._when, fields)
        except SessionError as refusal:
            return Skip(name, place + str(refusal))


def record_of(message: Mapping[str, Any], name: str, place: int, when: float) -> Record:
    """The record of a message; one without an id gets one made from session, place and content, one without a time gets ``when``."""
    record = encode_message({**message, "timestamp": message.get("timestamp", when)} if "role" in message else message)
    if "role" not in message or message.get("id") is None:
        digest = hashlib.sha256(f"{name}\0{place}\0{record.body}".encode("utf-8", "surrogatepass"))
        record = record._replace(id="l" + digest.hexdigest()[:24])
    return record if "role" in message else record._replace(time=when)


def check_ids(records: Iterable[Record]) -> None:
    """Raise InvalidMessageError where an id comes twice."""
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            raise InvalidMessageError("has two messages of the same id: give each its own, or leave ids out")
        seen.add(record.id)


def _parsed(line: bytes) -> object:
    """The value of a line; a text that says nothing where it holds none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return ""
