"""Markdown as the HTML that Telegram takes. Any text goes in, balanced HTML comes out; what is no markdown is shown as it was written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from turnlog.bots.splitting import split

LONGEST = 4096
"""UTF-16 units that one message may show."""

_OPENING = re.compile(r" {0,3}(`{3,}|~{3,})([^\n]*)")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(\S.*)")
_QUOTE = re.compile(r" {0,3}> ?(.*)")
_ITEM = re.compile(r"([ \t]*)[-*+]([ \t]+)(.*)")
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})")
_LANGUAGE = re.compile(r"[A-Za-z0-9+#._-]{1,40}")
_TOKEN = re.compile(
    r"(?P<escaped>\\[!-/:-@\[-`{-~])"
    r"|(?P<ticks>`+)"
    r"|(?P<dunder>__[a-z][a-z0-9_]{,80}?__(?!\w))"
    r"|!?\[(?P<label>[^\[\]\n]{1,1000})\]\((?P<url>(?:https?://|tg://|mailto:)(?:[^\s()<>]|\([^\s()<>]*\)){1,2000})\)"
    r"|(?P<marks>\*+|_+|~~)"
)
_TAGS = {"**": "b", "__": "b", "*": "i", "_": "i", "~~": "s"}


@dataclass(slots=True)
class _Mark:
    """A run of marks that may begin or end an emphasis; ``html`` takes its place when it turns out to be nothing."""

    kind: str
    opens: bool
    closes: bool
    html: str


def units(text: str) -> int:
    """How long Telegram takes a text to be: UTF-16 code units."""
    return len(text) + sum(each > "\uffff" for each in text)


def fitting(text: str) -> list[str]:
    """The text in as many pieces as fit into a message each: one, but for texts with many signs that are two units long."""
    for longest in (LONGEST, 3 * LONGEST // 4, LONGEST // 2):
        pieces = [text] if longest == LONGEST else split(text, longest)
        if all(units(piece) <= LONGEST for piece in pieces):
            break
    return pieces


def plain(text: str) -> str:
    """The text without what no UTF-8 has."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def to_html(text: str) -> str:
    """``text`` as HTML for ``parse_mode``. It never shows more characters than ``text`` has."""
    return "\n".join(_blocks(text.split("\n")))


def _blocks(lines: list[str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line = lines[at]
        if (fence := _OPENING.fullmatch(line)) and not (fence[1][0] == "`" and "`" in fence[2]):
            end = _end_of_code(lines, at + 1, fence[1])
            yield _code(lines[at + 1 : end], fence[2].strip())
            at = end + 1
        elif _RULE.fullmatch(line):
            yield escape(line, quote=False)
            at += 1
        elif heading := _HEADING.fullmatch(line):
            words = heading[1].rstrip("# \t") or heading[1]
            yield f"<b>{_inline(words, bold=True)}</b>"
            at += 1
        elif _QUOTE.fullmatch(line):
            end = next((n for n in range(at, len(lines)) if not _QUOTE.fullmatch(lines[n])), len(lines))
            quoted = [found[1] for each in lines[at:end] if (found := _QUOTE.fullmatch(each))]
            yield f"<blockquote>{_inline(chr(10).join(quoted))}</blockquote>"
            at = end
        elif item := _ITEM.fullmatch(line):
            yield f"{item[1]}•{item[2]}{_inline(item[3])}"
            at += 1
        else:
            end = next((n for n in range(at + 1, len(lines)) if not _goes_on(lines[n])), len(lines))
            yield _inline("\n".join(lines[at:end]))
            at = end


def _goes_on(line: str) -> bool:
    """Whether a line belongs to the paragraph before it."""
    return bool(line.strip()) and not any(kind.fullmatch(line) for kind in (_OPENING, _RULE, _HEADING, _QUOTE, _ITEM))


def _end_of_code(lines: list[str], start: int, marks: str) -> int:
    """The number of the line that closes a block of code; one behind the last where none does."""
    for number in range(start, len(lines)):
        line = lines[number].strip()
        if len(line) >= len(marks) and line == marks[0] * len(line):
            return number
    return len(lines)


def _code(lines: list[str], info: str) -> str:
    code = escape("\n".join(lines), quote=False)
    language = _LANGUAGE.match(info)
    if language is None:
        return f"<pre>{code}</pre>"
    return f'<pre><code class="language-{language[0]}">{code}</code></pre>'


def _inline(text: str, *, bold: bool = False) -> str:
    """Emphasis, code and links within one block. ``bold``: the block is bold as a whole."""
    parts: list[str | _Mark] = []
    closers = _ticks(text)
    at = 0
    while found := _TOKEN.search(text, at):
        parts.append(escape(text[at : found.start()], quote=False))
        at = found.end()
        if found["escaped"]:
            parts.append(escape(found["escaped"][1], quote=False))
        elif found["dunder"]:
            # __init__ is a name of Python's much more often than a bold word.
            parts.append(found["dunder"])
        elif found["ticks"]:
            end = next((place for place in closers.get(len(found["ticks"]), ()) if place >= at), None)
            if end is None:
                parts.append(found["ticks"])
                continue
            code = text[at:end]
            inner = code[1:-1] if code.strip() and code[0] == code[-1] == " " else code
            parts.append(f"<code>{escape(inner, quote=False)}</code>")
            at = end + len(found["ticks"])
        elif found["url"]:
            label = found["label"] if found["label"].strip() else found["url"]
            parts.append(f'<a href="{escape(found["url"])}">{_inline(label, bold=bold)}</a>')
        else:
            parts += _marks(text, found.start(), at)
    parts.append(escape(text[at:], quote=False))
    return _paired(parts, bold)


def _ticks(text: str) -> dict[int, list[int]]:
    """Where runs of backticks are, by their length."""
    found: dict[int, list[int]] = {}
    for run in re.finditer("`+", text):
        found.setdefault(len(run[0]), []).append(run.start())
    return found


def _marks(text: str, start: int, end: int) -> list[str | _Mark]:
    """A run of ``*``, ``_`` or ``~~``: at most three may mean something, and only at the edge of a word."""
    run = text[start:end]
    before, after = text[start - 1 : start] or " ", text[end : end + 1] or " "
    opens = not after.isspace() and (after.isalnum() or not before.isalnum())
    closes = not before.isspace() and (before.isalnum() or not after.isalnum())
    # snake_case and 2*3*4 are no emphasis; in a script without blanks between words, stars may stand within them.
    joins = str.isalnum if run[0] == "_" else lambda each: each.isascii() and each.isalnum()
    opens, closes = opens and not joins(before), closes and not joins(after)
    if len(run) > 3 or not (opens or closes):
        return [run]
    if len(run) < 3:
        return [_Mark(run, opens, closes, run)]
    one, two = _Mark(run[0], opens, closes, run[0]), _Mark(run[:2], opens, closes, run[:2])
    return [one, two] if closes and not opens else [two, one]


def _paired(parts: list[str | _Mark], bold: bool) -> str:
    """The parts as one text, with tags where a mark that opens met one that closes."""
    waiting: list[int] = []
    kinds: dict[str, int] = {}
    for place, part in enumerate(parts):
        if isinstance(part, str):
            continue
        if part.closes and part.kind in kinds:
            begun = kinds[part.kind]
            while waiting[-1] != begun:
                # What opened within and did not close is nothing.
                del kinds[_kind(parts[waiting.pop()])]
            waiting.pop()
            del kinds[part.kind]
            tag = _TAGS[part.kind]
            opening = parts[begun]
            assert isinstance(opening, _Mark)
            opening.html, part.html = ("", "") if bold and tag == "b" else (f"<{tag}>", f"</{tag}>")
        elif part.opens and part.kind not in kinds:
            kinds[part.kind] = place
            waiting.append(place)
    return "".join(part if isinstance(part, str) else part.html for part in parts)


def _kind(part: str | _Mark) -> str:
    assert isinstance(part, _Mark)
    return part.kind
