"""What an operation costs, counted from outside in bytes and steps, never in time: so growth shows on any machine, at once."""

from __future__ import annotations

import gc
import sqlite3
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

BYTES_OF_PROCESS = "/proc/self/io"


class Steps:
    """Counts the steps of the SQLite connections that this process opens with sqlite3.connect while it watches."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count for connections opened in this scope; no store has to know about it."""
        connect: Any = sqlite3.connect

        def connect_and_count(*args: Any, **kwargs: Any) -> Any:
            connection = connect(*args, **kwargs)
            connection.set_progress_handler(self._step, 1)
            return connection

        vars(sqlite3)["connect"] = connect_and_count
        try:
            yield
        finally:
            vars(sqlite3)["connect"] = connect

    def _step(self) -> int:
        self.count += 1
        return 0


class Meter:
    """Measures single calls; ``extra`` is the store author's own count."""

    def __init__(self, steps: Steps, extra: Callable[[], int] | None = None) -> None:
        self._steps = steps
        self._extra = extra

    def cost(self, call: Callable[[], object]) -> dict[str, int]:
        """What one call cost, by kind of cost."""
        # A collection amid the call would add what the finalizers of others' objects do. One before each call would take
        # most of the kit's time in a process that holds millions of objects.
        collects = gc.isenabled()
        gc.disable()
        before = self._counts()
        tracemalloc.start()
        try:
            call()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            if collects:
                gc.enable()
        after = self._counts()
        return {"bytes allocated": peak, **{name: after[name] - before[name] for name in before}}

    def operations(self, call: Callable[[], object]) -> dict[str, int]:
        """Python operations of one call in this thread."""
        count = 0

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal count
            frame.f_trace_opcodes = True
            if event == "opcode":
                count += 1
            return trace

        previous = sys.gettrace()
        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(previous)
        return {"Python operations": count}

    def _counts(self) -> dict[str, int]:
        counts = {"SQLite steps": self._steps.count, **_process_bytes()}
        if self._extra is not None:
            counts["units of the store's own meter"] = self._extra()
        return counts


def _process_bytes() -> dict[str, int]:
    """Bytes that this process read and wrote by system calls; {} where the system does not tell."""
    try:
        with open(BYTES_OF_PROCESS, "rb", buffering=0) as file:
            lines = dict(line.split(b": ") for line in file.read().splitlines())
    except OSError:
        return {}
    return {"bytes read": int(lines[b"rchar"]), "bytes written": int(lines[b"wchar"])}
