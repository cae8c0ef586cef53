"""Opening a store by URL, and the process-wide default stores."""

from __future__ import annotations

import importlib
import os
import threading
from typing import TYPE_CHECKING, Any

from turnlog.errors import SessionError
from turnlog.session.databases import ENGINES
from turnlog.session.stores import DefaultSessionStore, HierarchicalSessionStore, json_backend, memory_backend, sessions_dir, sqlite_backend
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore

if TYPE_CHECKING:
    from turnlog.backends.port import Backend

ENTRY_POINTS = "turnlog.backends"
"""The entry point group by which a package brings a scheme: name = scheme, value = ``open_backend(url, *, asynchronous)``."""

_defaults: dict[tuple[type[DefaultSessionStore], str], DefaultSessionStore] = {}
_defaults_lock = threading.Lock()


class StoreUrlError(SessionError, ValueError):
    """A store URL that names no store. Attribute: ``scheme``."""


def open_store(url: str | None = None, *, max_messages: int | None = None) -> SessionStore:
    """The store at ``url``; None: ``TURNLOG_STORE``, or the default directory of JSON files.

    ``json:///dir``, ``sqlite:///file.sqlite`` (absolute paths; ``json://./dir`` is relative, ``json://~/dir`` in the home directory), ``memory://``;
    ``?durability=process`` on the first two. ``redis://``, ``mongodb://`` and ``postgresql://`` (and their kin) name a server. Further
    schemes come from installed packages (entry point group ``turnlog.backends``). Raises StoreUrlError, and ImportError without the driver.
    """
    return SessionStore(open_backend(url, asynchronous=False), max_messages)


def open_async_store(url: str | None = None, *, max_messages: int | None = None) -> AsyncSessionStore:
    """``open_store`` for event loops."""
    return AsyncSessionStore(open_backend(url, asynchronous=True), max_messages)


def open_backend(url: str | None = None, *, asynchronous: bool = False) -> Backend:
    """The engine that a store URL names. ``asynchronous``: the one for event loops, where a server has two; files have one for both."""
    url = url or os.environ.get("TURNLOG_STORE")
    if not url:
        return json_backend(None, 5.0, "power")
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise StoreUrlError(f"{url!r:.80} is no store URL: write json:///dir, sqlite:///file or memory://", scheme="")
    if scheme == "memory":
        return memory_backend()
    if scheme in ("json", "sqlite"):
        path, options = _place(url, rest)
        durability: Any = options.pop("durability", "power")
        if durability not in ("power", "process") or options:
            raise StoreUrlError(f"{url!r:.200}: the only option here is durability=power or durability=process", scheme=scheme)
        return json_backend(path, 5.0, durability) if scheme == "json" else sqlite_backend(path, 5.0, durability)
    if scheme in ENGINES:
        opener: Backend = importlib.import_module(ENGINES[scheme][0]).open_backend(url, asynchronous=asynchronous)
        return opener
    return _installed(scheme, url, asynchronous)


def get_default_session_store() -> DefaultSessionStore:
    """The process's store of JSON files in the default directory: one per resolved home, so a changed ``PRAISONAI_HOME`` is followed."""
    return _default(DefaultSessionStore)


def get_hierarchical_session_store() -> HierarchicalSessionStore:
    """Like ``get_default_session_store``, with the form of HierarchicalSessionStore."""
    store = _default(HierarchicalSessionStore)
    assert isinstance(store, HierarchicalSessionStore)
    return store


def _default(kind: type[DefaultSessionStore]) -> DefaultSessionStore:
    directory = os.path.abspath(sessions_dir())
    with _defaults_lock:
        store = _defaults.get((kind, directory))
        if store is None or store.closed:
            store = _defaults[kind, directory] = kind(directory)
        return store


def _place(url: str, rest: str) -> tuple[str, dict[str, str]]:
    # Imported here: only a URL needs it, and it would double what importing a store costs.
    from urllib.parse import parse_qsl, unquote

    path, _, query = rest.partition("?")
    path = os.path.expanduser(unquote(path))
    if not path or path == "/":
        raise StoreUrlError(f"{url!r:.80} names no place: write json:///dir or sqlite:///file", scheme=url.partition(":")[0])
    if not path.startswith(("/", "./", "../")):
        raise StoreUrlError(
            f"{url!r:.80} is neither absolute nor marked as relative: write ///dir for an absolute path, //./dir for a relative one",
            scheme=url.partition(":")[0],
        )
    return path, dict(parse_qsl(query))


def _installed(scheme: str, url: str, asynchronous: bool) -> Backend:
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS, name=scheme):
        backend: Backend = point.load()(url, asynchronous=asynchronous)
        return backend
    known = sorted({"json", "sqlite", "memory", *ENGINES, *(point.name for point in entry_points(group=ENTRY_POINTS))})
    raise StoreUrlError(f"no installed backend serves {scheme}:// (these do: {', '.join(known)})", scheme=scheme)
