"""What is printed on: a console with or without colours, a pager, tables, and a word about what takes long."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime
from typing import IO, Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from turnlog.cli import safe

PATIENCE = 1.0
"""Seconds of silence; what takes longer says so."""


class Plain(Console):
    """A console whose reader may go away: that is the caller's to decide about."""

    def put(self, text: str | Text = "") -> None:
        """Print a line, or some; where there are no colours to render, at a tenth of what ``print`` takes."""
        if self.is_terminal:
            self.print(text)
        else:
            self.file.write(f"{text}\n")

    def on_broken_pipe(self) -> None:
        """Called where a BrokenPipeError is being handled; lets it go on."""
        raise  # noqa: PLE0704


def console(file: IO[str] | None = None, **options: Any) -> Plain:
    """A console that prints text as it stands: no markup, no guessing at colours, no wrapping. ``file``: None for stdout."""
    return Plain(file=file, highlight=False, markup=False, emoji=False, soft_wrap=True, **options)


def errors() -> Plain:
    """A console on stderr."""
    return console(stderr=True)


def note(text: str) -> None:
    """A remark beside the output, on stderr."""
    errors().print(Text(safe.block(text), "dim"))


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(safe.json_text(value))


@contextmanager
def paged(wanted: bool = True) -> Iterator[Plain]:
    """A console on stdout; through ``$PAGER``, or ``less``, where a person looks at a terminal and ``wanted``."""
    command = _pager() if wanted else None
    if command is None:
        yield console()
        return
    # As git sets it: stop at once when all fits on the screen, let colours through, leave the text there.
    environment = {"LESS": "FRX", **os.environ}
    process = subprocess.Popen(
        command, shell=True, stdin=subprocess.PIPE, env=environment, text=True, encoding="utf-8", errors="backslashreplace"
    )
    assert process.stdin is not None
    try:
        # Whoever leaves the pager early has seen enough.
        with suppress(BrokenPipeError):
            yield console(process.stdin, force_terminal=True, width=console().width)
        with suppress(BrokenPipeError):
            process.stdin.close()
    finally:
        # Ctrl-C belongs to the pager while it runs.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        process.wait()
        signal.signal(signal.SIGINT, before)


def _pager() -> str | None:
    if not sys.stdout.isatty() or not sys.stdin.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return None
    if (chosen := os.environ.get("PAGER")) is not None:
        return chosen if chosen.strip() not in ("", "cat") else None
    return "less" if shutil.which("less") else None


def waiting(what: str) -> AbstractContextManager[None]:
    """Says on stderr ``what`` takes its time, from the first second on; only on a terminal."""
    screen = errors()
    return _waiting(screen, what) if screen.is_terminal else nullcontext()


@contextmanager
def _waiting(screen: Console, what: str) -> Iterator[None]:
    status = screen.status(Text(f"{what} …"))
    timer = threading.Timer(PATIENCE, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # A start that is under way must end before the stop.
        timer.join()
        status.stop()


def table(screen: Plain, headings: Sequence[str], rows: Sequence[Sequence[str]], *, gives_way: int, right: Sequence[int] = ()) -> None:
    """Print aligned columns under dim headings.

    Columns in ``right`` stand to the right. On a terminal the column ``gives_way`` is cut so that a row fits on a line.
    """
    cells = [[safe.line(cell) for cell in row] for row in rows]
    widths = [max(cell_len(row[place]) for row in [list(headings), *cells]) for place in range(len(headings))]
    if screen.is_terminal:
        others = sum(widths) - widths[gives_way] + 2 * (len(widths) - 1)
        widths[gives_way] = min(widths[gives_way], max(screen.width - others, 12))
    screen.put(Text(_row(headings, widths, right), "dim"))
    for row in cells:
        screen.put(Text(_row(row, widths, right)))


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    fitted = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        size = cell_len(cell)
        if size > width:
            fitted.append(set_cell_size(cell, width - 1) + "…")
        else:
            fitted.append(" " * (width - size) + cell if place in right else cell + " " * (width - size))
    return "  ".join(fitted).rstrip()


def local_time(moment: str | float | None) -> str:
    """A time (ISO text, or seconds since the epoch) as ``2026-11-02 10:31`` where this machine is; "" for None."""
    if moment is None:
        return ""
    try:
        when = datetime.fromtimestamp(moment) if isinstance(moment, int | float) else datetime.fromisoformat(moment).astimezone()
    except (ValueError, OverflowError, OSError):
        return str(moment)
    return f"{when:%Y-%m-%d %H:%M}"


def counted(number: int, what: str) -> str:
    """``1 message``, ``12,345 messages``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
