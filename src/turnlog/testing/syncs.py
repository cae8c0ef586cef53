"""What a store tells the disk: the syncs, the renames and the new directories that this process makes by the os module, in their order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

Identity = tuple[int, int]
"""Device and inode of a file or a directory."""


class Event(NamedTuple):
    """One call: a ``sync`` of ``subject``, or a ``name`` given in the directory ``folder`` to ``subject`` (None: it holds no data)."""

    kind: str
    subject: Identity | None
    folder: Identity | None = None
    name: str = ""


class Syncs:
    """Hears what any thread of this process does through ``os``; an engine that is not written in Python is not heard."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hear in this scope; no store has to know about it."""
        module: Any = os
        heard = {
            "fsync": self._syncing,
            "fdatasync": self._syncing,
            "rename": self._naming,
            "replace": self._naming,
            "link": self._naming,
            "mkdir": self._making,
        }
        plain = {name: getattr(os, name) for name in heard if hasattr(os, name)}
        for name, call in plain.items():
            setattr(module, name, heard[name](call))
        try:
            yield
        finally:
            for name, call in plain.items():
                setattr(module, name, call)

    def synced(self, since: int = 0) -> set[Identity]:
        """What was synced from event ``since`` on."""
        return {event.subject for event in self.events[since:] if event.kind == "sync" and event.subject}

    def at_risk(self) -> list[str]:
        """What power loss could undo: names whose directory was not synced after them, and names given to files not yet synced."""
        lost = []
        for number, event in enumerate(self.events):
            if event.kind != "name":
                continue
            if event.folder not in self.synced(number):
                lost.append(f"the name {event.name} was given, and its directory not synced after it")
            if event.subject is not None and event.subject not in {one.subject for one in self.events[:number] if one.kind == "sync"}:
                lost.append(f"the file {event.name} was not synced before it got its name")
        return lost

    def _syncing(self, call: Callable[..., None]) -> Callable[..., None]:
        def sync(fd: Any) -> None:
            call(fd)
            self.events.append(Event("sync", identity(fd if isinstance(fd, int) else fd.fileno())))

        return sync

    def _naming(self, call: Callable[..., None]) -> Callable[..., None]:
        def name(source: Any, target: Any, **options: Any) -> None:
            # Paths that count from an open directory cannot be told here.
            subject = None if options else identity(source)
            call(source, target, **options)
            if not options:
                self.events.append(Event("name", subject, _folder(target), os.path.basename(os.fsdecode(target))))

        return name

    def _making(self, call: Callable[..., None]) -> Callable[..., None]:
        def make(path: Any, mode: int = 0o777, **options: Any) -> None:
            call(path, mode, **options)
            if not options:
                self.events.append(Event("name", None, _folder(path), os.path.basename(os.fsdecode(path))))

        return make


def identity(path: int | str | bytes | os.PathLike[str]) -> Identity:
    """Device and inode of an open file or a path."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _folder(path: Any) -> Identity:
    return identity(Path(os.path.abspath(os.fsdecode(path))).parent)
