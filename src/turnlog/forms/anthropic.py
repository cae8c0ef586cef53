"""Writes a history in the form of Anthropic's Messages API: the system text, and messages whose roles alternate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from turnlog.forms.history import CHAT_KEYS, CHAT_PARTS, RESPONSES_PARTS, CallIds, Entry, entries, has_part
from turnlog.forms.media import plain_text, stand_in
from turnlog.forms.pieces import Call, Media, Piece, Result, Text, Thinking, joined_text, json_object

Written = dict[str, Any]

_FOREIGN_PARTS = CHAT_PARTS | RESPONSES_PARTS | {"input_audio", "refusal"}
_CALLING_KEYS = CHAT_KEYS - {"name"}
_PLAIN_ID = re.compile("[a-zA-Z0-9_-]+")
_LONGEST_ID = 64
_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_THOUGHTS = ("thinking", "redacted_thinking")


def to_anthropic(messages: Iterable[Mapping[str, Any]]) -> tuple[str | None, list[Written]]:
    """The system text (None where there is none) and the messages. A valid history stays valid.

    A message that is in this form already keeps its content as it is, unless one of the same role is beside it: those become one, as the
    API has user and assistant alternate. System messages, wherever they stand, are joined to the system text. Empty
    text, which the API refuses, is left out. Reasoning of other forms is left out: a signature holds for its own API only. What
    the API does not take, such as sounds, is named in brackets. The values in the messages are those given, not copies.

    The first message is the assistant's where the history begins so; nothing is made up before it.
    """
    history = entries(messages)
    ids = CallIds(history, ("anthropic",), _PLAIN_ID, _LONGEST_ID)
    system: list[str] = []
    written: list[Written] = []
    for entry in history:
        if entry.message.role == "system":
            system.append(joined_text(entry.message.pieces))
            continue
        role = "assistant" if entry.message.role == "assistant" else "user"
        if content := _content(entry, role, ids):
            _add(written, role, content)
    return "\n\n".join(filter(None, system)) or None, written


def _add(written: list[Written], role: str, content: str | list[Any]) -> None:
    if written and written[-1]["role"] == role:
        content = [*_blocks(written.pop()["content"]), *_blocks(content)]
    written.append({"role": role, "content": content})


def _blocks(content: str | list[Any]) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _is_native(entry: Entry) -> bool:
    raw = entry.raw
    said_beside = any(raw.get(key) for key in _CALLING_KEYS)
    return raw.get("role") in ("user", "assistant") and not said_beside and not has_part(raw, _FOREIGN_PARTS)


def _content(entry: Entry, role: str, ids: CallIds) -> str | list[Any]:
    content = entry.raw.get("content")
    if _is_native(entry) and isinstance(content, str | list):
        if isinstance(content, str):
            return content if content.strip() else ""
        return [part for part in content if part.get("type") != "text" or str(part.get("text")).strip()]
    blocks = [block for piece in entry.message.pieces for block in _block(entry, piece, role, ids)]
    return blocks[0]["text"] if [block["type"] for block in blocks] == ["text"] else blocks


def _block(entry: Entry, piece: Piece, role: str, ids: CallIds) -> list[Written]:
    if isinstance(piece, Call):
        call = ids.of_call(entry, piece)
        return [{"type": "tool_use", "id": call.id, "name": call.name, "input": json_object(call.arguments)}]
    if isinstance(piece, Result):
        return [_result(piece, ids.of_result(entry, piece))]
    if isinstance(piece, Thinking):
        return [dict(piece.raw)] if piece.raw is not None and piece.raw.get("type") in _THOUGHTS else []
    if isinstance(piece, Media):
        return [_media(piece) if role == "user" else {"type": "text", "text": stand_in(piece)}]
    return [{"type": "text", "text": piece.text}] if isinstance(piece, Text) and piece.text.strip() else []


def _result(result: Result, call: Call) -> Written:
    content: str | list[Written] = result.content
    if result.pieces:
        content = [
            _media(piece) if isinstance(piece, Media) else {"type": "text", "text": piece.text}
            for piece in result.pieces
            if isinstance(piece, Media) or (isinstance(piece, Text) and piece.text.strip())
        ]
    failed = {"is_error": True} if result.is_error else {}
    return {"type": "tool_result", "tool_use_id": call.id, "content": content, **failed}


def _media(media: Media) -> Written:
    if media.kind == "image" and media.url is not None:
        return {"type": "image", "source": {"type": "url", "url": media.url}}
    if media.kind == "image" and media.media_type in _IMAGE_TYPES:
        return {"type": "image", "source": {"type": "base64", "media_type": media.media_type, "data": media.data}}
    if media.kind == "file" and media.url is not None:
        return {"type": "document", "source": {"type": "url", "url": media.url}}
    if media.kind == "file" and media.media_type == "application/pdf":
        return {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": media.data}}
    if (text := plain_text(media)) is not None and text.strip():
        return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}
    return {"type": "text", "text": stand_in(media)}
