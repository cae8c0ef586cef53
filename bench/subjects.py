"""The two stores that are measured against floors, and the long sessions they are measured on, built once a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.material import build, history
from bench.plan import Plan

LONG = "long"
"""Id of the long session."""
BEGUN = 10
"""Messages in a session that has just begun."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A store of turnlog on disk."""

    group: str
    """Its name in the tables."""
    store: str
    """Its class in turnlog.session."""
    keyword: str
    """The constructor's argument for where the data lies."""
    file: str
    """Where it lies within a folder; "" for the folder itself."""

    def open(self, folder: Path, durability: str) -> Any:
        """A store on the data in ``folder``."""
        import turnlog.session

        kind: Callable[..., Any] = getattr(turnlog.session, self.store)
        return kind(**{self.keyword: folder / self.file}, durability=durability)

    def long_folder(self, plan: Plan) -> Path:
        """The folder that holds the long session and nothing else; built when first asked for."""
        folder = plan.folder(f"{self.store}-long")
        if not any(folder.iterdir()):
            with self.open(folder, "process") as store:
                build(plan, store, LONG, plan.long, what=self.group)
        return folder

    def short_folder(self, plan: Plan, durability: str, sessions: int) -> Path:
        """A folder of that many sessions, "0", "1" and so on, that have just begun."""
        folder = plan.folder(f"{self.store}-short-{durability}")
        with self.open(folder, "process") as store:
            for number in range(sessions):
                store.add_messages(str(number), history(BEGUN))
        return folder


JSON = Subject("JSON files", "DefaultSessionStore", "session_dir", "")
SQLITE = Subject("SQLite", "SqliteSessionStore", "path", "sessions.sqlite")


def settle(folder: Path) -> None:
    """Bring all files of a folder to the disk, so that no measured sync pays for what was built before."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_file() or path.is_dir():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
