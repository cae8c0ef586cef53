"""Writes a history in the form of OpenAI's chat completions API, which many other vendors take too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from turnlog.forms.history import ANTHROPIC_PARTS, RESPONSES_KEYS, RESPONSES_PARTS, CallIds, Entry, entries, has_part, spans
from turnlog.forms.media import address, audio_format, detail, file_id, filename, plain_text, stand_in
from turnlog.forms.pieces import Call, Media, Piece, Result, Text, joined_text, json_object

Written = dict[str, Any]

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_FOREIGN_PARTS = ANTHROPIC_PARTS | RESPONSES_PARTS
_ANY_ID = re.compile(".+", re.DOTALL)
_LONGEST_ID = 40


def to_chat(messages: Iterable[Mapping[str, Any]]) -> list[Written]:
    """The history as chat messages. A valid history stays valid; a message that is in this form already comes back equal.

    The responses items of one answer become one assistant message, its text and its calls together. Reasoning of other forms is
    left out, and so are items that chat has no message for. Results are text there: images and files of a result follow
    in a user message after all results. An image, sound or file that the API does not take is named in brackets. The values in the
    messages are those given, not copies.
    """
    history = entries(messages)
    ids = CallIds(history, ("chat", "function"), _ANY_ID, _LONGEST_ID)
    written: list[Written] = []
    for name, span in spans(history):
        if name == "answer":
            written += _answer(span, ids)
        elif name == "results":
            written += _results(span, ids)
        else:
            written += _message(span[0], ids)
    return written


def _is_native(entry: Entry) -> bool:
    raw = entry.raw
    if entry.trace.form == "function":
        return True
    return raw.get("role") in _ROLES and RESPONSES_KEYS.isdisjoint(raw) and not has_part(raw, _FOREIGN_PARTS)


def _message(entry: Entry, ids: CallIds) -> list[Written]:
    if _is_native(entry):
        return [dict(entry.raw)]
    role = entry.message.role
    if role == "assistant":
        return _answer([entry], ids)
    if role == "system":
        text = joined_text(entry.message.pieces)
        return [{"role": "developer" if entry.raw.get("role") == "developer" else "system", "content": text}] if text else []
    return _results([entry], ids)


def _answer(span: list[Entry], ids: CallIds) -> list[Written]:
    """What the model said and did at once. The calls go into one message, with the text just before them and among them."""
    first = next((place for place, entry in enumerate(span) if entry.calls), len(span))
    said = [message for entry in span[:first] if (message := _speech(entry)) is not None]
    if first == len(span):
        return said
    acting = span[first:]
    calls = [_call(ids.of_call(entry, call)) for entry in acting for call in entry.calls]
    opening = said.pop() if said else {"role": "assistant", "content": None}
    texts = [text for entry in acting if (text := joined_text(entry.message.pieces))]
    return [*said, {**opening, "content": _with_texts(opening.get("content"), texts), "tool_calls": calls}]


def _speech(entry: Entry) -> Written | None:
    if _is_native(entry):
        return dict(entry.raw)
    text = _spoken(entry.message.pieces)
    return {"role": "assistant", "content": text} if text else None


def _with_texts(content: Any, texts: list[str]) -> Any:
    if isinstance(content, list) and content:
        return [*content, *({"type": "text", "text": text} for text in texts)]
    return "\n\n".join([*([content] if content else []), *texts]) or None


def _spoken(pieces: Iterable[Piece]) -> str:
    """The model's words; it speaks in text only."""
    return joined_text(Text(stand_in(piece)) if isinstance(piece, Media) else piece for piece in pieces)


def _call(call: Call) -> Written:
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": json_object(call.arguments).get("input", "")}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _results(span: list[Entry], ids: CallIds) -> list[Written]:
    written: list[Written] = []
    after: list[Written] = []
    for entry in span:
        if _is_native(entry):
            written.append(dict(entry.raw))
            continue
        for piece in entry.message.pieces:
            if isinstance(piece, Result):
                call = ids.of_result(entry, piece)
                written.append({"role": "tool", "tool_call_id": call.id, "content": _result_text(piece)})
                after += [part for each in piece.pieces if isinstance(each, Media) and (part := _media(each))["type"] != "text"]
            else:
                after += _part(piece)
    if after:
        # Nothing may stand between the results of parallel calls.
        written.append({"role": "user", "content": after[0]["text"] if [part["type"] for part in after] == ["text"] else after})
    return written


def _result_text(result: Result) -> str:
    lines = [result.content, *(stand_in(piece) for piece in result.pieces if isinstance(piece, Media))]
    return "\n".join(filter(None, lines))


def _part(piece: Piece) -> list[Written]:
    if isinstance(piece, Text):
        return [{"type": "text", "text": piece.text}]
    return [_media(piece)] if isinstance(piece, Media) else []


def _media(media: Media) -> Written:
    place, known = address(media), file_id(media.raw)
    if media.kind == "image" and place:
        return {"type": "image_url", "image_url": {"url": place, **({"detail": seen} if (seen := detail(media)) else {})}}
    if media.kind == "audio" and (kind := audio_format(media)):
        return {"type": "input_audio", "input_audio": {"data": media.data, "format": kind}}
    if (text := plain_text(media)) is not None:
        return {"type": "text", "text": text}
    if media.kind == "file" and media.data is not None:
        return {"type": "file", "file": {"filename": filename(media) or "file", "file_data": place}}
    if media.kind == "file" and known:
        return {"type": "file", "file": {"file_id": known}}
    return {"type": "text", "text": stand_in(media)}
