"""Messages: from a caller's dict to canonical JSON text and back, exactly; ids, sizes and refusals."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json.encoder import encode_basestring as _quote
from typing import Any, NamedTuple

from turnlog.errors import CorruptSessionError, InvalidMessageError, InvalidSessionIdError, MessageTooLargeError

MAX_MESSAGE_BYTES = 12 * 1024 * 1024
MAX_SESSION_ID_LENGTH = 1024
MAX_DEPTH = 500

ENVELOPE_KEYS = ("id", "metadata", "timestamp")
"""Keys of a message dict that belong to the store, not to what the model is sent.

An object without a role, such as an item of the responses API, has an id of its own: it is kept whole and has no envelope.
"""


class Record(NamedTuple):
    """One message as backends keep it. ``seq`` is its place in its run; -1 until a backend has placed it."""

    seq: int
    id: str
    time: float
    body: str
    """Canonical JSON text of the message as the model gets it: role, content and every further key."""
    meta: str | None
    """Canonical JSON text of the caller's metadata; None where there is none."""


@dataclass(frozen=True, slots=True)
class SessionMessage:
    """A message with what the store knows about it.

    ``record`` is the whole message as the model gets it and may hold any keys; ``role``, ``content``, ``tool_calls`` and
    ``tool_call_id`` are read from it. ``timestamp`` is seconds since the epoch; order never depends on it.
    """

    role: str | None = None
    content: Any = None
    timestamp: float = field(default_factory=time.time)
    metadata: dict[str, Any] = field(default_factory=dict)
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    id: str = field(default_factory=lambda: new_message_id())  # noqa: PLW0108  # defined further down
    record: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.record:
            return
        record = {"role": self.role, "content": self.content}
        if self.tool_calls:
            record["tool_calls"] = self.tool_calls
        if self.tool_call_id is not None:
            record["tool_call_id"] = self.tool_call_id
        object.__setattr__(self, "record", record)

    @classmethod
    def from_record(cls, stored: Record) -> SessionMessage:
        """The value for a stored record; every call returns fresh objects that the caller may change."""
        record = decode_body(stored)
        return cls(
            role=record.get("role"),
            content=record.get("content"),
            timestamp=stored.time,
            metadata=_decode(stored.meta, stored.id) if stored.meta else {},
            tool_calls=record.get("tool_calls"),
            tool_call_id=record.get("tool_call_id"),
            id=stored.id,
            record=record,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SessionMessage:
        """Read the dict form that ``to_dict`` gives; unknown keys are kept as part of the message."""
        record = {key: value for key, value in data.items() if key not in ENVELOPE_KEYS}
        if "role" not in record and isinstance(record.get("record"), Mapping):
            record = dict(record["record"])
        return cls(
            role=record.get("role"),
            content=record.get("content"),
            timestamp=data.get("timestamp") or time.time(),
            metadata=dict(data.get("metadata") or {}),
            tool_calls=record.get("tool_calls"),
            tool_call_id=record.get("tool_call_id"),
            id=data.get("id") or new_message_id(),
            record=record or {"role": "user", "content": ""},
        )

    def to_dict(self) -> dict[str, Any]:
        """The message with its envelope: the keys of ``record`` (under "record" where they clash), ``timestamp``, ``metadata``, ``id``."""
        flat = "role" in self.record and not any(key in self.record for key in ENVELOPE_KEYS)
        message = self.record if flat else {"record": self.record}
        return {**message, "timestamp": self.timestamp, "metadata": self.metadata, "id": self.id}

    def to_llm_message(self) -> dict[str, Any]:
        """The message as a model API takes it: no id, no times, no metadata."""
        return dict(self.record)


_id_prefix = ""
_id_numbers = itertools.count()


def _renew_ids() -> None:
    global _id_prefix, _id_numbers
    _id_prefix = os.urandom(9).hex() + "-"
    _id_numbers = itertools.count()


_renew_ids()
if hasattr(os, "register_at_fork"):
    # A forked child that went on counting would repeat its parent's ids.
    os.register_at_fork(after_in_child=_renew_ids)


def new_message_id() -> str:
    """A message id no other process makes: 72 random bits per process, then a counter."""
    return f"{_id_prefix}{next(_id_numbers):x}"


def new_token() -> str:
    """A random name of 80 bits, for runs, sessions and snapshots."""
    return os.urandom(10).hex()


def check_session_id(session_id: object) -> str:
    """Return ``session_id`` if it is a valid id, else raise InvalidSessionIdError."""
    if type(session_id) is str and 0 < len(session_id) <= MAX_SESSION_ID_LENGTH:
        return session_id
    if not isinstance(session_id, str):
        raise InvalidSessionIdError(f"session_id must be a str, not {type(session_id).__name__}: pass a non-empty string")
    if not session_id:
        raise InvalidSessionIdError("session_id is empty: pass a non-empty string")
    if len(session_id) > MAX_SESSION_ID_LENGTH:
        raise InvalidSessionIdError(
            f"session_id has {len(session_id)} characters, the limit is {MAX_SESSION_ID_LENGTH}: "
            f"pass a shorter one (it begins {session_id[:40]!r})"
        )
    return str(session_id)


def encode_text(role: str, content: str) -> Record:
    """The record of a plain text message; the short way for what most messages are."""
    return Record(-1, new_message_id(), time.time(), _text_body(role, content), None)


def _is_text(record: Mapping[str, Any]) -> bool:
    """Whether a message is role and text, in this order, and nothing else."""
    return len(record) == 2 and next(iter(record)) == "role" and type(record["role"]) is str and type(record.get("content")) is str


def _text_body(role: str, content: str) -> str:
    return _finish(f'{{"role":{_quote(role)},"content":{_quote(content)}}}')


def encode_message(message: Mapping[str, Any] | SessionMessage) -> Record:
    """The record of a message dict or value; raises InvalidMessageError before anything is written.

    In a dict with a role, ``id`` (str), ``metadata`` (dict) and ``timestamp`` (seconds, or ISO 8601 text) are the envelope and every other
    key is the message. A dict without a role is the message whole.
    """
    identity: object
    stamp: object
    metadata: object
    if isinstance(message, SessionMessage):
        record, identity, stamp, metadata = message.record, message.id, message.timestamp, message.metadata
    elif isinstance(message, Mapping):
        enveloped = message if "role" in message else {}
        record = {key: value for key, value in message.items() if key not in ENVELOPE_KEYS or not enveloped}
        identity, stamp, metadata = enveloped.get("id"), enveloped.get("timestamp"), enveloped.get("metadata")
    else:
        raise InvalidMessageError(f"a message must be a dict or a SessionMessage, not {type(message).__name__}")
    if not record:
        raise InvalidMessageError("a message needs at least one key beside id, metadata and timestamp, such as role and content")
    role = record.get("role", "user")
    if not isinstance(role, str) or not role:
        raise InvalidMessageError(f"role must be a non-empty str, not {role!r}: use user, assistant, system or tool")
    body = _text_body(role, record["content"]) if _is_text(record) else encode_json(record, "message")
    return Record(-1, _check_id(identity), _check_time(stamp), body, _encode_metadata(metadata))


def decode_body(stored: Record) -> dict[str, Any]:
    """The message of a record, as a fresh dict. Raises CorruptSessionError."""
    return _decode(stored.body, stored.id)


def encode_json(value: Any, what: str) -> str:
    """Canonical JSON text: no spaces, keys in their order, ``\\u`` only where UTF-8 or JSON demands it."""
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMessageError(_refusal(value, what) or f"{what} cannot be written as JSON: {error}") from error
    # The encoder turns keys such as 1 or None into strings without a word; what came back would not be what went in.
    if not _is_exact(value) and (refusal := _refusal(value, what)):
        raise InvalidMessageError(refusal)
    return _finish(text)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def json_copy(value: Any, what: str) -> Any:
    """A deep copy of a JSON value; raises InvalidMessageError for anything else. ``what`` names it in the error."""
    return json.loads(encode_json(value, what))


def text_bytes(text: str) -> int:
    """The size of ``text`` as UTF-8, in bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _finish(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)
    if len(text) > MAX_MESSAGE_BYTES // 4 and (size := text_bytes(text)) > MAX_MESSAGE_BYTES:
        raise MessageTooLargeError(
            f"the message encodes to {size} bytes, the limit is {MAX_MESSAGE_BYTES}: keep large files elsewhere and store a link",
            size=size,
            limit=MAX_MESSAGE_BYTES,
        )
    return text


def _encode_metadata(metadata: object) -> str | None:
    if metadata is None or metadata == {}:
        return None
    if not isinstance(metadata, Mapping):
        raise InvalidMessageError(f"metadata must be a dict, not {type(metadata).__name__}")
    return encode_json(dict(metadata), "metadata")


def _check_id(identity: object) -> str:
    if identity is None:
        return new_message_id()
    if not isinstance(identity, str) or not 0 < len(identity) <= 256:
        raise InvalidMessageError(f"a message id must be a non-empty str of at most 256 characters, not {identity!r:.80}")
    if not identity.isprintable():
        raise InvalidMessageError(f"a message id must be printable, not {identity!r:.80}")
    return identity


def _check_time(stamp: object) -> float:
    if stamp is None:
        return time.time()
    if isinstance(stamp, str):
        stamp = _seconds(stamp)
    if isinstance(stamp, bool) or not isinstance(stamp, int | float) or not math.isfinite(stamp):
        raise InvalidMessageError(f"timestamp must be a finite number of seconds since the epoch, not {stamp!r:.80}")
    return float(stamp)


def _seconds(text: str) -> float | str:
    """Seconds since the epoch for ISO 8601 text, as some programs put it into messages (UTC unless it tells); other text as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _is_exact(value: Any) -> bool:
    """Whether what was encoded is surely kept exactly; where in doubt, False. Quicker than ``_refusal``, which names the place."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        deeper: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                for key in item:
                    if type(key) is not str:
                        return False
                deeper.extend(item.values())
            elif kind is list:
                deeper.extend(item)
            elif kind not in _LEAVES:
                return False
        if not deeper:
            return True
        level = deeper
    return False


_LEAVES = frozenset({str, int, float, bool, type(None)})


def _refusal(value: Any, what: str) -> str | None:
    """Why ``value`` cannot be kept exactly, naming the place, or None. Walks without recursion, so depth cannot break it."""
    stack: list[tuple[Any, str, int]] = [(value, what, 0)]
    while stack:
        item, place, depth = stack.pop()
        kind = type(item)
        if kind is str or item is None or kind is bool or kind is int:
            continue
        if depth > MAX_DEPTH:
            return f"{what} is nested more than {MAX_DEPTH} levels deep, or contains itself"
        if isinstance(item, dict):
            for key in item:
                if not isinstance(key, str):
                    return f"{place} has the key {key!r:.80} of type {type(key).__name__}: JSON keys are strings, use {str(key)!r:.80}"
            stack.extend((child, f"{place}[{key!r:.60}]", depth + 1) for key, child in item.items())
        elif isinstance(item, list | tuple):
            stack.extend((child, f"{place}[{index}]", depth + 1) for index, child in enumerate(item))
        elif isinstance(item, float):
            if not math.isfinite(item):
                return f"{place} is {item!r}, which JSON cannot hold: use None or a string"
        elif not isinstance(item, str | int):
            return f"{place} is a {kind.__name__}, which JSON cannot hold: convert it to a str, number, list or dict first"
    return None


def decode_all(records: Iterable[Record]) -> list[dict[str, Any]]:
    """The messages of many records, in order. Raises CorruptSessionError."""
    stored = list(records)
    try:
        # One parse for the lot costs half of one parse each.
        messages: list[dict[str, Any]] = json.loads(f"[{','.join([record.body for record in stored])}]")
    except (ValueError, TypeError):
        messages = [decode_body(record) for record in stored]
    return messages


def _decode(text: str, identity: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, TypeError):
        # A damaged database may give another type than text.
        value = None
    if not isinstance(value, dict):
        # Not chained: the parser's error carries the text, which is nobody's business but the user's.
        raise CorruptSessionError(f"what is stored as message {identity!r} is no JSON object")
    return value
