"""What a message says, whichever vendor's form it is stored in: text, reasoning, media, tool calls and their results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """Words, of a person or of the model; a refusal is the model's words too."""

    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """The model's reasoning. ``text`` may be empty, where it is hidden or encrypted."""

    text: str
    raw: Mapping[str, Any] | None
    """The part or item as it was stored, with its signature or encrypted content; None where the form has only text."""


@dataclass(frozen=True, slots=True)
class Media:
    """An image, a sound or a file, given by an address, or as data, or only by a vendor's file id (then both are None)."""

    kind: str
    """``image``, ``audio`` or ``file``."""
    url: str | None
    data: str | None
    """Standard base64."""
    media_type: str | None
    """Such as ``image/png``; None where the stored part does not say."""
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call. For the older ``function_call`` of chat, which has no id, ``id`` is the name."""

    id: str
    name: str
    arguments: str
    """JSON text. A custom tool takes free text: here it is the JSON text of ``{"input": <that text>}``."""
    custom: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a tool call. ``pieces`` is empty unless it holds more than text; ``content`` is always all of its text."""

    call_id: str
    content: str
    name: str | None = None
    is_error: bool = False
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Other:
    """A part or an item that has no counterpart in the other forms, as it was stored."""

    raw: Mapping[str, Any]


Piece: TypeAlias = Text | Thinking | Media | Call | Result | Other


@dataclass(frozen=True, slots=True)
class Message:
    """One stored message. ``role`` is ``system``, ``user``, ``assistant`` or ``tool``."""

    role: str
    pieces: tuple[Piece, ...]


def joined_text(pieces: Iterable[Piece], separator: str = "\n\n") -> str:
    """All text of the pieces, the empty ones left out."""
    return separator.join(piece.text for piece in pieces if isinstance(piece, Text) and piece.text)


def json_text(value: Any) -> str:
    """The JSON text of what a tool call was given."""
    return json.dumps(value, ensure_ascii=False, default=str)


def json_object(arguments: str) -> dict[str, Any]:
    """The object that a call's arguments are, ``{}`` for none; what is not the text of a JSON object comes as ``{"input": arguments}``."""
    if not arguments.strip():
        return {}
    try:
        value = json.loads(arguments, parse_constant=_refuse)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"input": arguments}


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
