"""Any str as text that every database takes: no NUL, no lone surrogate; order, prefixes and difference are kept."""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00\x01\ud800-\udfff\ue000]")
_SAFE = re.compile("\x01.|\ue000.", re.DOTALL)


def to_key(text: str) -> str:
    """``text`` itself, but for NUL, U+0001, lone surrogates and U+E000: each of these becomes two characters.

    One character is written at a time, so ``a.startswith(b)`` holds exactly when it holds of the keys; and the two characters
    sort where the one did, by code point.
    """
    return text if text.isprintable() else _UNSAFE.sub(_write, text)


def from_key(key: str) -> str:
    """The text that ``to_key`` was given."""
    return key if key.isprintable() else _SAFE.sub(_read, key)


def after_prefix(key: str) -> str | None:
    """The smallest text above every text that begins with ``key``; None where there is none."""
    key = key.rstrip("\U0010ffff")
    if not key:
        return None
    last = ord(key[-1]) + 1
    return key[:-1] + chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)


def _write(match: re.Match[str]) -> str:
    code = ord(match[0])
    return "\x01" + chr(code + 1) if code < 2 else "\ue000" + chr(code - 0xD800 + 0x100)


def _read(match: re.Match[str]) -> str:
    mark, code = match[0][0], ord(match[0][1])
    return chr(code - 1) if mark == "\x01" else chr(code - 0x100 + 0xD800)
