"""Printing: colours where a terminal wants them, aligned columns, a line that lives, and time to read."""

from __future__ import annotations

import os
import re
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TextIO

WIDTH = 80
MARGIN = "   "
COLOURS = {"green": "32", "yellow": "33", "blue": "94", "magenta": "35", "cyan": "36", "red": "1;31"}
STYLES = {"bold": "1", "dim": "2", "name": "1;36", **COLOURS}

_ESCAPE = re.compile("\x1b\\[[0-9;]*m")
_PLAIN = str.maketrans("─━╌│●✓✗·…°", "-=.|o+x.. ")


def visible(text: str) -> int:
    """How many columns ``text`` takes on the screen."""
    return len(_ESCAPE.sub("", text))


def pad(text: str, width: int, *, right: bool = False) -> str:
    """``text`` filled with spaces to ``width`` columns; ``right`` puts them in front."""
    space = " " * (width - visible(text))
    return space + text if right else text + space


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` columns."""
    return textwrap.wrap(text, width)


def number(value: int) -> str:
    """A count for people: 12,345."""
    return f"{value:,}"


class Stage:
    """Where the scenes print. On a terminal it takes its time, so that a person can follow; into a pipe or file it does not."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        dumb = os.environ.get("TERM") == "dumb"
        self.terminal = self._out.isatty()
        self.lively = self.terminal and not dumb
        self.coloured = self.lively and not os.environ.get("NO_COLOR")
        try:
            "─●✓".encode(self._out.encoding or "ascii")
        except UnicodeEncodeError:
            self._translation: dict[int, int] | None = _PLAIN
        else:
            self._translation = None
        self._live = 0

    # Pieces of a line -------------------------------------------------------------------------------------------------

    def paint(self, style: str, text: str) -> str:
        """``text`` in one of STYLES, where there are colours."""
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self.coloured and text else text

    def mark(self, good: bool) -> str:
        """A tick or a cross."""
        return self.paint("green", "✓") if good else self.paint("red", "✗")

    def count(self, value: int, *, wanted: int | None = None) -> str:
        """A count, green where it is ``wanted`` and red where it is not."""
        return number(value) if wanted is None else self.paint("green" if value == wanted else "red", number(value))

    # Lines ------------------------------------------------------------------------------------------------------------

    def write(self, text: str) -> None:
        """Print a piece of a line at once."""
        self._out.write(text.translate(self._translation) if self._translation else text)
        self._out.flush()

    def line(self, text: str = "", *, beat: float = 0.0) -> None:
        """Print a line, after the margin; then wait ``beat`` seconds where a person reads along."""
        self.write(f"{MARGIN}{text}".rstrip() + "\n")
        self.beat(beat)

    def columns(self, cells: Sequence[str], widths: Sequence[int], *, right_from: int | None = None, beat: float = 0.0) -> None:
        """Print cells side by side, two spaces apart; those from ``right_from`` on stand to the right."""
        padded = [
            pad(cell, width, right=right_from is not None and place >= right_from)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        self.line("  ".join(padded), beat=beat)

    def heading(self, name: str, what: str, place: str = "") -> None:
        """The title of a scene; ``place`` stands at the right."""
        left = f" {self.paint('name', name)}  {what}"
        self.write(f"\n{pad(left, WIDTH - 1 - len(place))}{self.paint('dim', place)}".rstrip() + "\n")
        self.write(" " + self.paint("dim", "─" * (WIDTH - 2)) + "\n")
        self.beat(0.3)

    def verdict(self, broken: Sequence[str], proof: str) -> None:
        """The last line of a scene: what was shown, or what broke."""
        self.line()
        if not broken:
            self.line(f"{self.mark(True)} {proof}", beat=0.8)
        for text in broken:
            lines = wrapped(text, WIDTH - 13)
            self.line(f"{self.mark(False)} {self.paint('red', 'BROKEN')} {lines[0]}")
            for more in lines[1:]:
                self.line(f"         {more}")
        self.beat(1.0 if broken else 0.0)

    def live(self, text: str) -> None:
        """Print over the line printed last by this method; nothing where lines cannot be printed over."""
        if self.lively:
            gap = " " * max(0, self._live - visible(text))
            self.write(f"\r{MARGIN}{text}{gap}")
            self._live = visible(text)

    def live_end(self) -> None:
        """Wipe the living line."""
        if self._live:
            self.write("\r" + " " * (self._live + len(MARGIN)) + "\r")
            self._live = 0

    def beat(self, seconds: float) -> None:
        """Wait where a person reads along."""
        if self.terminal and seconds:
            time.sleep(seconds)
