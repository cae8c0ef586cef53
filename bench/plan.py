"""What one run of the bench does: how long its sessions are, how often it measures, where it works, how it shows progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO


class Progress:
    """One line for each long step: what it does, how far it is, how long it took."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._line = ""
        self._shown = 0.0

    @contextmanager
    def step(self, text: str) -> Iterator[Progress]:
        """A step; ``far`` in its scope says how far it is."""
        self._line = f"  {text} … "
        self._write(self._line)
        begin = time.monotonic()
        try:
            yield self
        except BaseException:
            self._write("failed\n")
            raise
        taken = f"{time.monotonic() - begin:.1f} s"
        self._write(f"\r{self._line}{taken}      \n" if self._stream.isatty() else f"{taken}\n")

    def far(self, done: int, whole: int) -> None:
        """Show how much is done, at most ten times a second; only where a line can be written over."""
        if self._stream.isatty() and time.monotonic() - self._shown > 0.1:
            self._shown = time.monotonic()
            self._write(f"\r{self._line}{100 * done // max(whole, 1)} %")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run."""

    scratch: Path
    """An empty folder for all that the run writes."""
    progress: Progress = field(default_factory=Progress)
    long: int = 1_000_000
    """Messages in the long session."""
    tree: int = 100_000
    """Messages in the session that is forked, marked and reverted."""
    head_operations: int = 10_000
    """Forks, snapshots and reverts (so many of each) before appends are measured again."""
    files: int = 1_000
    """Sessions in the directory that is listed."""
    rows: int = 1_000_000
    """Sessions in the SQLite file that is listed."""
    peer_lengths: tuple[int, ...] = (10, 1_000, 10_000)
    rounds: int = 150
    """Rounds of operations that take microseconds or wait for the disk once."""
    processes: int = 30
    """Processes started for each figure that only a new process can show."""

    @classmethod
    def quick(cls, scratch: Path) -> Plan:
        """The same measurements on shorter sessions and in fewer rounds."""
        return cls(scratch=scratch, long=100_000, tree=20_000, head_operations=1_000, rows=100_000, rounds=50, processes=12)

    def folder(self, name: str) -> Path:
        """A folder of that name within the scratch folder."""
        path = self.scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path
