"""Writes a history as input items of OpenAI's responses API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from turnlog.forms.history import ANTHROPIC_PARTS, CHAT_KEYS, CHAT_PARTS, CallIds, Entry, entries, has_part, spans
from turnlog.forms.media import address, detail, file_id, filename, plain_text, stand_in
from turnlog.forms.pieces import Call, Media, Piece, Result, Text, joined_text, json_object
from turnlog.forms.reading import is_item
from turnlog.toolcalls import RESPONSES_CALLS, Kind

Written = dict[str, Any]

_ROLES = ("system", "developer", "user", "assistant")
_FOREIGN_PARTS = ANTHROPIC_PARTS | CHAT_PARTS | {"text", "input_audio"}
_ANY_ID = re.compile(".+", re.DOTALL)
_LONGEST_ID = 64


def to_responses(messages: Iterable[Mapping[str, Any]]) -> list[Written]:
    """The history as input items. A valid history stays valid; an item that is in this form already comes back equal.

    A message with text and parallel calls becomes a message and one item for each call. Reasoning of other forms is left out, and a
    reasoning item too where nothing is left of what it led to. What the API does not take, such as sounds, is named in brackets.
    The values in the items are those given, not copies.
    """
    history = entries(messages)
    ids = CallIds(history, RESPONSES_CALLS, _ANY_ID, _LONGEST_ID)
    written: list[Written] = []
    for name, span in spans(history):
        if name == "answer":
            written += _answer(span, ids)
        else:
            written += [item for entry in span for item in _items(entry, ids)]
    return written


def _answer(span: list[Entry], ids: CallIds) -> list[Written]:
    written: list[Written] = []
    waiting: list[Written] = []
    lost = False
    for entry in span:
        items = _items(entry, ids)
        if entry.trace.kind is Kind.REASONING:
            waiting += items
        elif items:
            written += [*waiting, *items]
            waiting, lost = [], False
        else:
            lost = True
    return written if lost else written + waiting


def _is_native(entry: Entry) -> bool:
    raw = entry.raw
    if is_item(raw):
        return True
    spoken = raw.get("role") in _ROLES and isinstance(raw.get("content"), str | list)
    return spoken and CHAT_KEYS.isdisjoint(raw) and not has_part(raw, _FOREIGN_PARTS)


def _items(entry: Entry, ids: CallIds) -> list[Written]:
    pieces = entry.message.pieces
    if _is_native(entry):
        return [dict(entry.raw)]
    if entry.message.role == "assistant":
        text = joined_text(Text(stand_in(piece)) if isinstance(piece, Media) else piece for piece in pieces)
        said: list[Written] = [{"role": "assistant", "content": text}] if text else []
        return said + [_call(ids.of_call(entry, call)) for call in entry.calls]
    results = [_result(piece, ids.of_result(entry, piece)) for piece in pieces if isinstance(piece, Result)]
    parts = [part for piece in pieces for part in _part(piece)]
    if not parts:
        return results
    role = "developer" if entry.raw.get("role") == "developer" else "system" if entry.message.role == "system" else "user"
    return [*results, {"role": role, "content": _shortest(parts)}]


def _shortest(parts: list[Written]) -> str | list[Written]:
    text = parts[0].get("text") if len(parts) == 1 else None
    return text if isinstance(text, str) else parts


def _call(call: Call) -> Written:
    if call.custom:
        text = json_object(call.arguments).get("input", "")
        return {"type": "custom_tool_call", "call_id": call.id, "name": call.name, "input": text}
    return {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}


def _result(result: Result, call: Call) -> Written:
    kind = "custom_tool_call_output" if call.custom else "function_call_output"
    parts = [part for piece in result.pieces for part in _part(piece)]
    return {"type": kind, "call_id": call.id, "output": parts or result.content}


def _part(piece: Piece) -> list[Written]:
    if isinstance(piece, Text):
        return [{"type": "input_text", "text": piece.text}]
    return [_media(piece)] if isinstance(piece, Media) else []


def _media(media: Media) -> Written:
    place, known = address(media), file_id(media.raw)
    if media.kind == "image" and (place or known):
        return {"type": "input_image", "detail": detail(media) or "auto", **({"image_url": place} if place else {"file_id": known})}
    if (text := plain_text(media)) is not None:
        return {"type": "input_text", "text": text}
    if media.kind == "file" and media.data is not None:
        return {"type": "input_file", "filename": filename(media) or "file", "file_data": place}
    if media.kind == "file" and media.url is not None:
        return {"type": "input_file", "file_url": media.url}
    if media.kind == "file" and known:
        return {"type": "input_file", "file_id": known}
    return {"type": "input_text", "text": stand_in(media)}
