"""Markdown as Discord's: what Discord would read as something else is escaped, and its own marks are written for what was meant."""

from __future__ import annotations

import re

from turnlog.bots.marked import Block, Run, Style, blocks_of

LONGEST = 2000
"""Characters that one message may have."""

_MARKS: dict[Style, str] = {"bold": "**", "italic": "*", "strike": "~~"}
_ADDRESS = re.compile(r"https?://[^\s<>]+")
_SPECIAL = re.compile(
    r"[*`]"
    r"|(?<!\w)_|_(?!\w)|_(?=_)|(?<=_)_"  # within a word it is a part of it
    r"|~(?=~)|(?<=~)~|\|(?=\|)|(?<=\|)\|"
    r"|\\(?=[^\w\s])"
    r"|<(?=[@#:/]|a:|t:|id:|sound:)"  # mentions, emoji, times
    r"|\[(?=[^\]\n]*\]\()"
)
_FIRST = r"([ \t]*)(#{1,3}|-#|>|-)(?=[ \t])"
"""What makes of a line a heading, small print, a quote or a list."""
_LINE, _LATER_LINE = re.compile(f"^{_FIRST}", re.MULTILINE), re.compile(rf"(?<=\n){_FIRST}")


def to_discord(text: str) -> str:
    """``text`` in Discord's form, or as it was written where that would be longer than a message may be."""
    clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    formed = "\n".join(map(_block, blocks_of(clean)))
    return formed if formed.strip() and len(formed) <= LONGEST else clean


def _block(block: Block) -> str:
    if block.kind == "code":
        # Discord ends a block at the first three backticks, wherever they are.
        code = block.text.replace("```", "`\u200b``")
        return f"```{block.language}\n{code}\n```"
    text = _inline(block.runs)
    return "\n".join(f"> {line}" for line in text.split("\n")) if block.kind == "quote" else text


def _inline(runs: tuple[Run, ...]) -> str:
    parts: list[str] = []
    open_styles: list[Style] = []
    for run in runs:
        wanted = [style for style in run.styles if style in _MARKS]
        while open_styles and open_styles != wanted[: len(open_styles)]:
            parts.append(_MARKS[open_styles.pop()])
        for style in wanted[len(open_styles) :]:
            parts.append(_MARKS[style])
            open_styles.append(style)
        parts.append(_run(run, at_line_start=not parts or parts[-1].endswith("\n")))
    parts += [_MARKS[style] for style in reversed(open_styles)]
    return "".join(parts)


def _run(run: Run, *, at_line_start: bool) -> str:
    text = _code(run.text) if "code" in run.styles else _escaped(run.text, at_line_start)
    if run.url is None or run.url == run.text:
        return run.text if run.url is not None else text
    return f"[{text}]({run.url})"


def _code(text: str) -> str:
    if "`" not in text:
        return f"`{text}`"
    # Two backticks are the most that Discord knows.
    return f"`` {text.replace('``', '`' + chr(0x200B) + '`')} ``"


def _escaped(text: str, at_line_start: bool) -> str:
    """Text that shows as it is; addresses, which Discord makes links of, untouched."""
    parts: list[str] = []
    at = 0
    for address in _ADDRESS.finditer(text):
        parts += [_without_marks(text[at : address.start()], at_line_start if at == 0 else False), address[0]]
        at = address.end()
    parts.append(_without_marks(text[at:], at_line_start if at == 0 else False))
    return "".join(parts)


def _without_marks(text: str, at_line_start: bool) -> str:
    escaped = _SPECIAL.sub(r"\\\g<0>", text)
    return (_LINE if at_line_start else _LATER_LINE).sub(r"\1\\\2", escaped)
