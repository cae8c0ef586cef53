"""The parts of a head that an append leaves alone, as JSON text and back; shared by the engines that keep a head as a row."""

from __future__ import annotations

import json
import re
from typing import Any

from turnlog.errors import CorruptSessionError
from turnlog.heads import Head, Parent, PathRef, Stretch
from turnlog.messages import encode_json

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_SURROGATES = re.compile("[\ud800-\udfff]")


def encode_head(head: Head) -> str:
    """Everything but session_id, run, counter, length and updated_at, which engines keep where an append can raise them.

    Raises InvalidMessageError when ``fields`` cannot be kept exactly as JSON.
    """
    cold: dict[str, Any] = {"born": head.born, "created_at": head.created_at}
    if head.past_count or head.tail or head.shed:
        cold |= {"past": head.past, "past_count": head.past_count, "path": head.path, "tail": head.tail, "shed": head.shed}
    if head.ttl is not None:
        cold["ttl"] = head.ttl
    if head.undo is not None:
        cold["undo"] = head.undo
    if head.parent is not None:
        cold["parent"] = head.parent
    if head.fields:
        cold["fields"] = dict(head.fields)
    try:
        text = _encode(cold)
    except (TypeError, ValueError, RecursionError):
        encode_json(dict(head.fields), "the fields of the session")  # says what is wrong, and where
        raise
    return text if text.isascii() else _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def decode_head(text: str, session_id: str, run: str, counter: int, length: int, updated_at: float) -> Head:
    """The head that ``encode_head`` wrote, with its moving parts; fresh objects. Raises CorruptSessionError."""
    try:
        cold = json.loads(text)
        path, parent = cold.get("path"), cold.get("parent")
        return Head(
            session_id=session_id,
            run=run,
            born=cold["born"],
            counter=counter,
            length=length,
            past=tuple([Stretch(*stretch) for stretch in cold.get("past", ())]),
            past_count=cold.get("past_count", 0),
            path=PathRef(*path) if path else None,
            tail=cold.get("tail", 0),
            shed=cold.get("shed", 0),
            undo=cold.get("undo"),
            parent=Parent(*parent) if parent else None,
            created_at=cold["created_at"],
            updated_at=updated_at,
            ttl=cold.get("ttl"),
            fields=cold.get("fields", {}),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptSessionError(f"the head of session {session_id!r} cannot be read", session_id=session_id) from error


def count_offset(head: Head) -> int:
    """What to add to ``length`` to get the number of messages in the kept history."""
    return head.past_count - head.tail - head.shed
