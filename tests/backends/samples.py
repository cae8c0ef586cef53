"""Heads and records that the tests of the backends write, and threads that write them at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from turnlog.heads import Head, Stretch
from turnlog.messages import Record


def a_head(session_id: str = "s", run: str = "r1", **values: Any) -> Head:
    """A head of a session that was just born."""
    return Head(**{"session_id": session_id, "run": run, "born": "b", "created_at": 1.5, "updated_at": 2.5, **values})


def record(identity: str, content: str = "", meta: str | None = None) -> Record:
    """A record that no backend has placed."""
    return Record(-1, identity, 7.25, f'{{"role":"user","content":"{content or identity}"}}', meta)


def records(start: int, stop: int) -> list[Record]:
    """Records m0, m1, …"""
    return [record(f"m{number}") for number in range(start, stop)]


def all_ids(backend: Any, session_id: str = "s", run: str = "r1") -> list[str]:
    """The ids that a run holds, in order."""
    return [stored.id for stored in backend.read(session_id, [Stretch(run, 0, 100_000)])]


def run_threads(work: Callable[[int], None], count: int) -> None:
    """Run ``work(0)`` … in threads that start at once; the first error is raised here."""
    barrier = threading.Barrier(count)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
