"""The words of a message, as search compares them: the same on every engine, whether it keeps an index of them or not."""

from __future__ import annotations

import json
import re
from typing import Any

SEARCHED = 256 * 1024
"""Characters of a message's text that search looks at; what lies beyond them is not found."""
LONGEST = 64
"""Characters of a word; a longer one is known by its beginning, so that an index keeps a bound."""

SNIPPET = 120
"""Characters of a snippet."""

_WORD = re.compile(r"[^\W_]+")


def text_of(content: Any) -> str:
    """The text of a message's content: itself, or the text of its parts, as far as search looks."""
    return _text(content)[:SEARCHED]


def words_of(text: str) -> list[str]:
    """The words of ``text``, each once, in order: runs of letters and digits, upper and lower case the same."""
    return list(dict.fromkeys(spelled(text)))


def spelled(text: str) -> list[str]:
    """The words of ``text`` as they stand, each as often as it stands there."""
    return [word[:LONGEST] for word in _WORD.findall(text.casefold())]


def words_of_body(body: str) -> list[str]:
    """The words of a message that is stored as the JSON text ``body``; none where that cannot be read."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return []
    return words_of(text_of(message.get("content"))) if isinstance(message, dict) else []


def place_of(phrase: list[str], words: list[str]) -> int | None:
    """Where ``phrase`` stands in ``words`` as a whole for the first time; None for nowhere. Both as ``spelled`` gives them."""
    size = len(phrase)
    return next((at for at, word in enumerate(words) if word == phrase[0] and words[at : at + size] == phrase), None)


def snippet(text: str, phrase: list[str]) -> str:
    """A piece of ``text`` around the whole phrase, or else around the first of its words; ``phrase`` as ``spelled`` gives it."""
    flat = " ".join(text.split())
    # One run of letters may be several words once it is casefolded.
    places = [(word, found.start()) for found in _WORD.finditer(flat) for word in spelled(found[0])]
    words = [word for word, _ in places]
    first = place_of(phrase, words)
    if first is None:
        first = next((at for at, word in enumerate(words) if word in phrase), None)
    start = max(0, (places[first][1] if first is not None else 0) - SNIPPET // 2)
    return ("…" if start else "") + flat[start : start + SNIPPET] + ("…" if start + SNIPPET < len(flat) else "")


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_text(part.get("text", part.get("content"))) if isinstance(part, dict) else _text(part) for part in content)
    return ""
