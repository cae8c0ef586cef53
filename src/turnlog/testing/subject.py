"""What is verified: the factory, what it takes, whether its stores are async, and how another process opens the same place."""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnlog.testing.checks import NotRun
from turnlog.testing.faces import Loop, SyncFace

Factory = Callable[..., Any]
"""``factory()`` or ``factory(place)``, each also with an optional ``max_messages=`` keyword; may be a coroutine function.

``place`` is a ``pathlib.Path``: a directory that the kit made for one case, named as no other. Called twice with one place, the
factory opens the same sessions again; called with another place, it opens an empty store. A store that keeps nothing in files
takes ``place.name`` as its prefix, schema or database name.

A factory is given the place if its first parameter is required, or is named as one of DIRECTORY_NAMES; if it is named as one of
FILE_NAMES, it is given the path of a file in the place that is not there yet. So most store classes are factories as they are.
"""

NO_PLACE = "the factory takes no place, so a store cannot be opened again: give it a parameter named place"

DIRECTORY_NAMES = ("place", "session_dir", "directory", "folder", "root")
FILE_NAMES = ("path", "file", "filename", "db_path", "database")


@dataclass(slots=True)
class Subject:
    """One store implementation under verification."""

    factory: Factory
    five: bool
    meter: Callable[[], int] | None = None
    make_newer: Callable[[Path], None] | None = None
    name: str = ""
    takes_place: bool = field(init=False)
    takes_file: bool = field(init=False)
    takes_limit: bool = field(init=False)
    asynchronous: bool | None = None
    """Known once the first store was looked at."""

    def __post_init__(self) -> None:
        self.name = self.name or getattr(self.factory, "__qualname__", None) or repr(self.factory)
        parameters = _parameters(self.factory)
        first = next((p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)), None)
        self.takes_file = first is not None and first.name in FILE_NAMES
        self.takes_place = first is not None and (first.name in DIRECTORY_NAMES + FILE_NAMES or first.default is first.empty)
        self.takes_limit = any(p.name == "max_messages" or p.kind is p.VAR_KEYWORD for p in parameters)

    def open(self, place: Path, loop: Loop, **options: Any) -> Any:
        """The store of a place, as the factory gives it; ``options`` may hold ``max_messages``."""
        arguments = (place / "store" if self.takes_file else place,) if self.takes_place else ()
        store = self.factory(*arguments, **options)
        return loop.run(lambda: store) if inspect.isawaitable(store) else store

    def face(self, store: Any, loop: Loop) -> Any:
        """The store as cases call it: itself if sync, else behind a SyncFace."""
        return SyncFace(store, loop) if self.asynchronous else store

    def need_place(self) -> None:
        """NotRun where stores cannot be opened twice on one place."""
        if not self.takes_place:
            raise NotRun(NO_PLACE)

    def child_header(self) -> dict[str, Any]:
        """What another process needs to open stores of this factory; NotRun where it cannot."""
        self.need_place()
        try:
            pickled = pickle.dumps(self.factory)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise NotRun(f"another process cannot import the factory ({error}): define it at the top of a module") from error
        main = getattr(sys.modules.get("__main__"), "__file__", None) if b"__main__" in pickled else None
        if b"__main__" in pickled and main is None:
            raise NotRun("another process cannot import the factory, it was typed in at a prompt: define it in a module")
        return {"path": sys.path, "main": main, "factory": pickled}


def _parameters(factory: Factory) -> list[inspect.Parameter]:
    """The parameters of the factory; none where Python cannot tell them."""
    try:
        return list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        return []
