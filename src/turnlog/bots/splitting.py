"""A long answer in pieces that a platform takes: cut at a paragraph, a line, a sentence or a word, and never inside an open code block."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_BREAKS = (re.compile(r"\n(?:[ \t]*\n)+"), re.compile(r"\n"), re.compile(r"(?<=[.!?…。！？])[ \t]+|(?<=[。！？])"), re.compile(r"[ \t]+"))
"""Where a text may be cut, best first: between paragraphs, lines, sentences, words."""

EARLIEST = (0.4, 0.4, 0.3, 0.1)
"""How much of a piece a cut of each kind leaves at least, as a share of its length."""
LEAST = 16
"""Characters; a piece that is shorter could not hold a block of code's own marks."""


def split(text: str, longest: int) -> list[str]:
    """The pieces of ``text``, each of at most ``longest`` characters (16 or more); together they have all its words, in order.

    A code block that goes over a cut is closed before it and opened again after it. Where a piece ends depends on its own first
    ``longest`` + 1 characters only, so the pieces of a text that grows stay what they were. No text gives no pieces.
    """
    if longest < LEAST:
        raise ValueError(f"a piece must have {LEAST} characters or more, not {longest!r:.40}")
    pieces: list[str] = []
    rest = text.strip("\n")
    while len(rest) > longest:
        piece, rest = _first(rest, longest)
        if piece.strip():
            pieces.append(piece)
    return [*pieces, rest] if rest.strip() else pieces


def open_fence(text: str) -> tuple[str, str] | None:
    """The marks and the info of the code block that ``text`` ends within; None where it ends outside."""
    fence: tuple[str, str] | None = None
    for found in _FENCE.finditer(text):
        marks, info = found[1], found[2].strip()
        if fence is None:
            # Info of a fence of backticks has none; this is code within a line.
            if not (marks[0] == "`" and "`" in info):
                fence = (marks, info)
        elif marks[0] == fence[0][0] and len(marks) >= len(fence[0]) and not info:
            fence = None
    return fence


def _first(text: str, longest: int) -> tuple[str, str]:
    """The first piece of a text that is too long, and the rest."""
    cut, after = _cut(text, longest)
    fence = open_fence(text[:cut])
    if fence is None:
        return text[:cut].rstrip(), text[after:]
    marks, info = fence
    closing = f"\n{marks}"
    opening = f"{marks}{info[:40]}\n"
    if len(closing) + len(opening) + LEAST // 2 > longest:
        # Marks as long as a message are no code block that could be kept.
        return text[:cut], text[after:]
    cut, after = _cut_lines(text, longest - len(closing))
    fence = open_fence(text[:cut])
    if fence is None:
        return text[:cut].rstrip(), text[after:]
    # Nothing but the opening fits: it moves to the next piece as it is.
    if cut <= len(opening):
        cut = after = longest - len(closing)
    if ended := re.compile(rf" {{0,3}}{re.escape(marks)}[ \t]*(?:\n|$)").match(text, after):
        # The block ends right here: nothing of it is left to open again.
        return f"{text[:cut].rstrip()}{closing}", text[ended.end() :]
    return f"{text[:cut].rstrip()}{closing}", f"{opening}{text[after:]}"


def _cut(text: str, longest: int) -> tuple[int, int]:
    """Where the piece ends and where the rest begins."""
    window = text[: longest + 1]
    for kind, earliest in zip(_BREAKS, EARLIEST, strict=True):
        ends = [(found.start(), found.end()) for found in kind.finditer(window) if found.start() <= longest]
        if ends and ends[-1][0] > earliest * longest:
            return ends[-1]
    return longest, longest


def _cut_lines(text: str, longest: int) -> tuple[int, int]:
    """``_cut`` within code, where only whole lines are apart."""
    at = text.rfind("\n", 0, longest + 1)
    return (at, at + 1) if at > longest // 4 else (longest, longest)
