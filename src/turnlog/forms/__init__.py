"""Messages across vendors: reads a stored message of any form, and writes a history in the form that a vendor's API takes."""

from __future__ import annotations

from turnlog.forms.anthropic import to_anthropic
from turnlog.forms.chat import to_chat
from turnlog.forms.pieces import Call, Media, Message, Other, Piece, Result, Text, Thinking
from turnlog.forms.reading import read_message, read_messages
from turnlog.forms.responses import to_responses

__all__ = [
    "Call",
    "Media",
    "Message",
    "Other",
    "Piece",
    "Result",
    "Text",
    "Thinking",
    "read_message",
    "read_messages",
    "to_anthropic",
    "to_chat",
    "to_responses",
]
