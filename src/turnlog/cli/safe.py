"""Stored text made safe to print: control characters are shown, never sent to the terminal."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Any

# C0 and C1 controls, DEL, what turns the direction of text or ends a line in disguise, and what no encoding can carry.
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_IN_A_BLOCK = re.compile(f"[{_CONTROLS}]")
_IN_A_LINE = re.compile(f"[{_CONTROLS}\t\n]")
_BEYOND_ASCII = re.compile("[^\x00-\x7f]")
_SHORT = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}


def block(text: str) -> str:
    """``text`` with its lines and tabs, every other control character escaped."""
    return _IN_A_BLOCK.sub(_escaped, text.replace("\r\n", "\n"))


def line(text: str) -> str:
    """``text`` on one line, every control character escaped."""
    return _IN_A_LINE.sub(_escaped, text)


def short(text: str, limit: int) -> str:
    """``line(text)`` cut to ``limit`` characters, with an ellipsis where something is left out."""
    # Cut before it is escaped too: a message may hold megabytes.
    whole = line(text[: limit + 1])
    return whole if len(whole) <= limit else whole[: limit - 1] + "…"


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """``value`` as JSON: any text as it is, but what could drive a terminal as ``\\u``."""
    return json_safe(json.dumps(value, ensure_ascii=_ascii_only(), indent=indent))


def json_safe(text: str) -> str:
    """JSON text as it may be printed: the same values, with ``\\u`` for what could drive a terminal, or what its encoding lacks."""
    if _ascii_only():
        text = _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
    return _IN_A_BLOCK.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class JsonOut(io.TextIOBase):
    """Takes JSON text and prints it on stdout, made safe."""

    def write(self, text: str) -> int:
        """Print a piece of JSON text; gives its length."""
        sys.stdout.write(json_safe(text))
        return len(text)


def _ascii_only() -> bool:
    return (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8"


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{ord(character):02x}" if ord(character) < 0x100 else f"\\u{ord(character):04x}"
