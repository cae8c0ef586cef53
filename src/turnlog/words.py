"""The words of a message, as search compares them: the same on every engine, whether it keeps an index of them or not."""

from __future__ import annotations

import re
from typing import Any

SEARCHED = 256 * 1024
"""Characters of a message's text that search looks at; what lies beyond them is not found."""
LONGEST = 64
"""Characters of a word; a longer one is known by its beginning, so that an index keeps a bound."""

_WORD = re.compile(r"[^\W_]+")


def text_of(content: Any) -> str:
    """The text of a message's content: itself, or the text of its parts, as far as search looks."""
    return _text(content)[:SEARCHED]


def words_of(text: str) -> list[str]:
    """The words of ``text``, each once, in order: runs of letters and digits, upper and lower case the same."""
    return list(dict.fromkeys(word[:LONGEST] for word in _WORD.findall(text.casefold())))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_text(part.get("text", part.get("content"))) if isinstance(part, dict) else _text(part) for part in content)
    return ""
