"""Targets of the command line: a class or factory named by its import path, or a store URL; both can be opened in another process."""

from __future__ import annotations

import importlib
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def load(name: str) -> Any:
    """The object that ``package.module:Name`` names; a ValueError says what is wrong with the name."""
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise ValueError(f"{name!r} is no PACKAGE.MODULE:NAME, such as mypackage.stores:MyStore")
    if "" not in sys.path:
        sys.path.insert(0, "")
    found: Any = importlib.import_module(module_name)
    for part in attribute.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"{name} is a {type(found).__name__}: name a class, or a function that returns a store")
    return found


def looks_full(target: Any) -> bool:
    """Whether a class has what only a full store has, or a factory says that it returns such a class."""
    kind = target if inspect.isclass(target) else inspect.get_annotations(target, eval_str=True).get("return")
    return all(callable(getattr(kind, name, None)) for name in ("add_messages", "get_revision"))


@dataclass(frozen=True)
class UrlFactory:
    """The store that a URL opens; ``{place}`` in it is the place."""

    url: str
    asynchronous: bool = False

    def __call__(self, place: Path, *, max_messages: int | None = None) -> Any:
        from turnlog.session import open_async_store, open_store

        opening = open_async_store if self.asynchronous else open_store
        return opening(self.url.replace("{place}", str(place)), max_messages=max_messages)


@dataclass(frozen=True)
class PlacelessUrlFactory:
    """The store that a URL opens which names no place, such as ``memory://``."""

    url: str
    asynchronous: bool = False

    def __call__(self, *, max_messages: int | None = None) -> Any:
        return UrlFactory(self.url, self.asynchronous)(Path(), max_messages=max_messages)
