"""The text of a session file: messages, front matter and closing tail, from values to JSON and back. No input or output here.

The file is one JSON object. Its first line is the front matter: everything but the messages, ending in ``"messages":[``. Then comes one
line for each append (all messages of a batch on one line), then the closing tail, which holds nothing that cannot be derived again::

    {"session_id":"chat-123","created_at":"2026-…","agent_name":"Assistant",…,"metadata":{…,"turnlog":{…}},"messages":[
    {"role":"user","content":"Hello!","timestamp":1795473357.2,"metadata":{"turnlog":{"id":"5f-0","n":0}}},
    {"role":"assistant","content":"Hi","timestamp":1795473358.4,"metadata":{"turnlog":{"id":"5f-1","n":1}}}
    ],"updated_at":"2026-…","message_count":2}

A message shows its own keys flat. What praisonaiagents would lose when it rewrites the file is kept under ``metadata["turnlog"]``
of the message (``more``) and of the session: ``id`` and ``n`` (sequence number) of a message, run, snapshots, set-aside messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from json.decoder import scanstring  # type: ignore[attr-defined]  # the stubs leave it out
from json.encoder import encode_basestring
from typing import Any

from turnlog.messages import Record

MESSAGES = ',"messages":['
LINE_END = 48
"""Bytes that surely hold the number at the end of a line."""
BETWEEN = ", "
"""Between the messages of a batch; canonical JSON has no such space, so a line can be cut without parsing it."""

_FLAT = ("role", "content", "tool_calls", "tool_call_id")
_TAIL = re.compile(rb'\n\],"updated_at":"([ -!#-\[\]-~]*)","message_count":(\d+)(?:,"changes":(\d+))?\}\n\Z')
_CUT = '}}}, {"role":'
_MIDDLE = re.compile(r',"timestamp":([0-9.e+-]+),"metadata":\{')
_PLAIN = re.compile(
    r'^(\{"role":.*),"timestamp":([0-9.e+-]+),"metadata":\{"turnlog":\{"id":"([^"\\\n]*)","n":([0-9]+)\}\}\},?$', re.MULTILINE
)
"""A line with one message and no metadata of the caller's; everything from the timestamp on is ours, and nothing needs parsing."""
_END = re.compile(r'"turnlog":\{(?:"of":([0-9]+),)?"id":"([^"\\\n]*)","n":([0-9]+)\}\}\}\Z')
"""The end of a message of which nothing is kept under ``turnlog`` but its place."""
_LAST_NUMBER = re.compile(rb'"n":(\d+)\}\}\},?\Z')


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dump(value: Any) -> str:
    """Canonical JSON text; lone surrogates as ``\\u``. Takes NaN, which other programs may have written."""
    text = _encode(value)
    return text if text.isascii() else to_bytes(text).decode()


def to_bytes(text: str) -> bytes:
    """JSON text as UTF-8; a lone surrogate becomes its ``\\u`` escape, which means the same inside a JSON string."""
    return text.encode("utf-8", "backslashreplace")


def iso_time(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 text in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


# Messages -------------------------------------------------------------------------------------------------------------


def message_text(record: Record, seq: int, batch: int = 1) -> str:
    """A message as it stands in the file. ``batch``: how many messages its line holds, if it is the first of more than one."""
    body, meta = record.body, record.meta
    kept = f'"of":{batch},' if batch > 1 else ""
    if is_flat(body):
        shown = body[:-1]
    else:
        shown, more = _shown(body)
        kept += more
    if meta is None:
        outer = "{"
    elif '"turnlog"' in meta or len(meta) < 3:
        outer = "{"
        kept += f'"meta":{meta},'
    else:
        outer = meta[:-1] + ","
    name = encode_basestring(record.id)
    return f'{shown},"timestamp":{record.time!r},"metadata":{outer}"turnlog":{{{kept}"id":{name},"n":{seq}}}}}}}'


def line_text(records: Sequence[Record], seq: int) -> str:
    """One append: its messages on one line, numbered from ``seq``."""
    if len(records) == 1:
        return message_text(records[0], seq)
    size = len(records)
    return BETWEEN.join([message_text(record, seq + at, size if at == 0 else 1) for at, record in enumerate(records)])


def is_flat(body: str) -> bool:
    """Whether ``body`` is role and text in this order and nothing else, so that it can be shown as it is. Never parses the text."""
    if body.startswith('{"role":"') and body.endswith('"}'):
        end = body.index('"', 9)
        if body.startswith('","content":"', end) and "\\" not in body[9:end]:
            return body.count('"') == 8 or bool(scanstring(body, end + 13)[1] == len(body) - 1)
    return False


def _shown(body: str) -> tuple[str, str]:
    """The beginning of the message in the file, up to its timestamp, and what must be kept of it under ``turnlog``."""
    message = json.loads(body)
    keys = list(message)
    safe = [key for key in _FLAT if _survives(key, message)]
    if keys == safe and keys[:2] == ["role", "content"]:
        return body[:-1], ""
    role, content = message.get("role"), message.get("content", "")
    shown = {"role": role if isinstance(role, str) else "user", "content": content}
    shown |= {key: message[key] for key in keys if key not in ("role", "content", "timestamp", "metadata")}
    more = {key: message[key] for key in keys if key not in safe}
    return dump(shown)[:-1], f'"keys":{dump(keys)},"more":{dump(more)},'


def _survives(key: str, message: dict[str, Any]) -> bool:
    """Whether praisonaiagents gives the key back as it is when it rewrites the file."""
    if key not in message:
        return False
    value = message[key]
    if key == "role":
        return isinstance(value, str)
    if key == "tool_calls":
        return isinstance(value, list) and bool(value)
    return key == "content" or value is not None


def cut_records(text: str) -> list[Record]:
    """What ``records_of`` gives, without parsing messages whose line shows where they end; their bodies are unchecked."""
    if _CUT not in text:
        found = _PLAIN.findall(text)
        if len(found) == text.count("\n") + 1:
            return [Record(int(seq), name, float(time), body + "}", None) for body, time, name, seq in found]
    return [record for line in text.split("\n") for record in _cut_line(line)]


def _cut_line(line: str) -> list[Record]:
    line = line.removesuffix(",")
    pieces = line.split(_CUT)
    records: list[Record] = []
    last = len(pieces) - 1
    for at, piece in enumerate(pieces):
        found = _cut_record(('{"role":' if at else "") + piece + ("}}}" if at < last else ""), 0 if at else last + 1)
        if found is None:
            return records_of(line)
        records.append(found)
    return records


def _cut_record(text: str, batch: int) -> Record | None:
    """The record of one message, unparsed; None where that does not show where to cut. ``batch``: how many its line must say it holds."""
    middle = _MIDDLE.search(text)
    if middle is None or _MIDDLE.search(text, middle.end()) or not text.startswith('{"role":'):
        return None
    begin, end = middle.end(), text.rfind('"turnlog":{')
    found = _END.match(text, end) if end >= begin else None
    if found is None or (batch and int(found[1] or 1) != batch):
        return None
    inner = text[begin : end - 1]
    return Record(int(found[3]), found[2], float(middle[1]), text[: middle.start()] + "}", f"{{{inner}}}" if inner else None)


def records_of(text: str) -> list[Record]:
    """The records of message lines: ``text`` is whole lines with the commas between them. Raises ValueError for anything else."""
    messages = json.loads(f"[{text}]")
    records: list[Record] = []
    try:
        for line in text.split("\n"):
            if line.endswith(","):
                line = line[:-1]
            count = messages[len(records)]["metadata"]["turnlog"].get("of", 1)
            pieces = _pieces(line, count)
            for piece in pieces:
                records.append(record_of(messages[len(records)], piece))
        if len(records) != len(messages):
            raise ValueError("lines and messages differ in number")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"not a message line: {error!r}") from error
    return records


def _pieces(line: str, count: int) -> Sequence[str]:
    if count == 1:
        return (line,)
    inner = line.split(_CUT)
    if len(inner) != count:
        raise ValueError("a batch is not whole")
    last = len(inner) - 1
    return [('{"role":' if at else "") + piece + ("}}}" if at < last else "") for at, piece in enumerate(inner)]


def record_of(message: dict[str, Any], text: str | None = None) -> Record:
    """The record of a parsed message of ours; ``text`` is its JSON text where known, which saves writing it again."""
    metadata = message["metadata"]
    kept = metadata["turnlog"]
    keys = kept.get("keys")
    cut = _cut_message(text, message["timestamp"]) if text is not None and keys is None and "meta" not in kept else None
    if cut is not None:
        body, meta = cut
        return _record(kept, message["timestamp"], body, meta)
    if keys is not None:
        more = kept["more"]
        body = dump({key: more[key] if key in more else message[key] for key in keys})
    else:
        body = dump({key: value for key, value in message.items() if key not in ("timestamp", "metadata")})
    if "meta" in kept:
        meta = dump(kept["meta"])
    elif len(metadata) > 1:
        meta = dump({key: value for key, value in metadata.items() if key != "turnlog"})
    else:
        meta = None
    return _record(kept, message["timestamp"], body, meta)


def _cut_message(text: str, timestamp: Any) -> tuple[str, str | None] | None:
    """Body and metadata of a message as they were written, cut out of its line; None where it is not plain where to cut."""
    between = f',"timestamp":{timestamp!r},"metadata":{{'
    at = text.find(between)
    if at < 0 or text.find(between, at + 1) >= 0:
        return None
    begin, end = at + len(between), text.rfind('"turnlog":{')
    meta = text[begin : end - 1] if end > begin else ""
    return text[:at] + "}", f"{{{meta}}}" if meta else None


def _record(kept: dict[str, Any], timestamp: Any, body: str, meta: str | None) -> Record:
    seq, name = kept["n"], kept["id"]
    if type(seq) is not int or type(name) is not str:
        raise ValueError("a message has no number or no id")
    return Record(seq, name, float(timestamp), body, meta)


def last_number(line_end: bytes) -> int | None:
    """The sequence number of the last message of a line, from the end of the line alone."""
    found = _LAST_NUMBER.search(line_end)
    return int(found[1]) if found else None


def lines_from(data: bytes, seq: int) -> bytes:
    """The last lines of ``data``, whole lines, that hold the messages with numbers of ``seq`` or more; others only on the first of them."""
    end = data.rfind(b"\n")
    while end >= 0:
        number = last_number(data[max(0, end - LINE_END) : end])
        # A line without a number is damaged: it stays, so that whoever reads the lines finds that out.
        if number is not None and number < seq:
            return data[end + 1 :]
        end = data.rfind(b"\n", 0, end)
    return data


# The closing tail -----------------------------------------------------------------------------------------------------


def tail_bytes(updated_at: str, count: int, changes: int) -> bytes:
    """The closing tail. ``changes``: how many changes of fields lie in the side file; it says when to look there."""
    beside = f',"changes":{changes}' if changes else ""
    return f'\n],"updated_at":"{updated_at}","message_count":{count}{beside}}}\n'.encode()


def parse_tail(data: bytes) -> tuple[int, str, int, int] | None:
    """Where the closing tail begins in ``data``, with updated_at, count and changes; None where ``data`` does not end in one."""
    at = data.rfind(b"\n]")
    found = _TAIL.match(data, at) if at >= 0 else None
    return (at, found[1].decode(), int(found[2]), int(found[3] or 0)) if found else None


# Torn ends ------------------------------------------------------------------------------------------------------------


def whole_lines(data: bytes) -> tuple[int, list[Record]]:
    """How far ``data``, which begins at a line of messages, holds whole lines, and their records.

    A line is whole when all messages of its batch are there. What follows it may be anything: an append that was cut short leaves its
    own beginning, then what it had not yet overwritten.
    """
    records: list[Record] = []
    end = at = 0
    while True:
        stop = data.find(b"\n", at)
        segment = data[at : stop if stop >= 0 else len(data)]
        line = segment[:-1] if segment.endswith(b",") else segment
        found = _line(line)
        if found is not None:
            records += found
            end = at + len(line)
            if line is not segment and stop >= 0:
                at = stop + 1
                continue
        else:
            size, found = _first_line(segment)
            records += found
            end = at + size if size else end
        return end, records


def _line(line: bytes) -> list[Record] | None:
    if not line.endswith(b"}}}"):
        return None
    try:
        return records_of(line.decode())
    except (ValueError, RecursionError):
        return None


def _first_line(segment: bytes) -> tuple[int, list[Record]]:
    """A whole line at the beginning of ``segment``, with its size in bytes; 0 for none."""
    text = segment.decode("utf-8", "surrogateescape")
    decoder = json.JSONDecoder()
    at, count, seen = 0, 1, 0
    try:
        while seen < count:
            if seen:
                if not text.startswith(BETWEEN, at):
                    return 0, []
                at += len(BETWEEN)
            message, at = decoder.raw_decode(text, at)
            if not seen:
                count = message["metadata"]["turnlog"].get("of", 1)
            seen += 1
        line = text[:at].encode()
        return len(line), records_of(line.decode())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0, []


def join_lines(lines: Iterable[str]) -> str:
    """Message lines as they stand in the file, without the closing tail."""
    return "".join(["\n", ",\n".join(lines)])
