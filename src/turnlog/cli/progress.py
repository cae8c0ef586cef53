"""Progress of what takes longer than a second, on stderr, where that is a terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from turnlog.cli import safe
from turnlog.cli.screen import PATIENCE, errors

if TYPE_CHECKING:
    from turnlog.transfer import Progress


class Moving:
    """Takes the reports of a transfer and shows them as a bar. Use it in a ``with``."""

    def __init__(self) -> None:
        self._screen = errors()
        self._begun = time.monotonic()
        self._bars: Bars | None = None

    def __call__(self, step: Progress) -> None:
        """Show one report."""
        if not self._screen.is_terminal or (self._bars is None and time.monotonic() - self._begun < PATIENCE):
            return
        if self._bars is None:
            amount: ProgressColumn = DownloadColumn() if step.unit == "bytes" else MofNCompleteColumn()
            columns = (BarColumn(), amount, TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
            self._bars = Bars(*columns, console=self._screen, transient=True)
            self._bars.add_task("", total=step.total)
            self._bars.start()
        self._bars.update(self._bars.task_ids[0], completed=step.done, total=step.total, description=safe.short(step.label, 60))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()
