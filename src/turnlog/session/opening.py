"""Opening a store by URL, and the process-wide default stores."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from turnlog.backends.addresses import fault, scheme_of, shown
from turnlog.errors import SessionError, UnsupportedVerbError
from turnlog.session.databases import ENGINES
from turnlog.session.stores import DefaultSessionStore, HierarchicalSessionStore, json_backend, memory_backend, sessions_dir, sqlite_backend
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.conditions import check_ttl
from turnlog.store.sync import SessionStore

if TYPE_CHECKING:
    from turnlog.backends.port import Backend

ENTRY_POINTS = "turnlog.backends"
"""The entry point group by which a package brings a scheme: name = scheme, value = ``open_backend(url, *, asynchronous)``."""

_defaults: dict[tuple[type[DefaultSessionStore], str], DefaultSessionStore] = {}
_defaults_lock = threading.Lock()


class StoreUrlError(SessionError, ValueError):
    """A store URL that names no store. Attribute: ``scheme``."""


def open_store(url: str | None = None, *, max_messages: int | None = None, ttl: float | None = None) -> SessionStore:
    """The store at ``url``; None: ``TURNLOG_STORE``, or the default directory of JSON files.

    ``json:///dir``, ``sqlite:///file.sqlite`` (absolute paths; ``json://./dir`` is relative, ``json://~/dir`` in the home directory), ``memory://``;
    ``?durability=process`` on the first two. ``redis://``, ``mongodb://`` and ``postgresql://`` (and their kin) name a server. Further
    schemes come from installed packages (entry point group ``turnlog.backends``). With all of them ``?ttl=3600`` lets sessions that the
    store creates expire that many seconds after their last change, unless ``ttl`` says otherwise; ``?search=1`` keeps an index of words
    where the engine can. Raises StoreUrlError, InvalidArgumentError, and ImportError without the driver.
    """
    return SessionStore(open_backend(url, asynchronous=False), max_messages, ttl=ttl if ttl is not None else _ttl_of(url))


def open_async_store(url: str | None = None, *, max_messages: int | None = None, ttl: float | None = None) -> AsyncSessionStore:
    """``open_store`` for event loops."""
    return AsyncSessionStore(open_backend(url, asynchronous=True), max_messages, ttl=ttl if ttl is not None else _ttl_of(url))


def open_backend(url: str | None = None, *, asynchronous: bool = False) -> Backend:
    """The engine that a store URL names. ``asynchronous``: the one for event loops, where a server has two; files have one for both."""
    url = url or os.environ.get("TURNLOG_STORE")
    if not url:
        return json_backend(None, 5.0, "power")
    scheme = _scheme(url)
    url, _ = _without_ttl(url)
    rest = url.partition("://")[2]
    if scheme == "memory":
        return memory_backend()
    if scheme in ("json", "sqlite"):
        path, options = _place(url, rest)
        durability: Any = options.pop("durability", "power")
        search = options.pop("search", "0") if scheme == "sqlite" else "0"
        if durability not in ("power", "process") or search not in ("0", "1") or options:
            known = "durability=power or durability=process, ttl" + (", and search=0 or search=1" if scheme == "sqlite" else "")
            raise StoreUrlError(f"{shown(url)}: the options here are {known}", scheme=scheme)
        return json_backend(path, 5.0, durability) if scheme == "json" else sqlite_backend(path, 5.0, durability, search=search == "1")
    if scheme in ENGINES:
        opener: Backend = importlib.import_module(ENGINES[scheme][0]).open_backend(url, asynchronous=asynchronous)
        return opener
    return _opener(scheme)(url, asynchronous=asynchronous)


def schema_text(url: str) -> str:
    """The statements that make what a store at ``url`` needs on its server or in its file, for who runs them by hand.

    No connection is made. Raises StoreUrlError, UnsupportedVerbError where nothing is to be made, ImportError without the driver.
    """
    scheme = _scheme(url)
    url, _ = _without_ttl(url)
    if scheme == "sqlite":
        _place(url, url.partition("://")[2])
        module: Any = importlib.import_module("turnlog.backends.sqlite")
    elif scheme in ENGINES:
        module = importlib.import_module(ENGINES[scheme][0])
    else:
        module = None if scheme in ("json", "memory") else sys.modules[_opener(scheme).__module__]
    if not hasattr(module, "schema_text"):
        text = f"a store at {scheme}:// needs nothing to be made beforehand: only sqlite and the databases have a schema"
        raise UnsupportedVerbError(text, verb="schema", reason="no schema")
    statements: str = module.schema_text(url)
    return statements


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


def _ttl_of(url: str | None) -> float | None:
    return _without_ttl(url or os.environ.get("TURNLOG_STORE") or "")[1]


def _without_ttl(url: str) -> tuple[str, float | None]:
    """The URL as the engine reads it, and the ttl in seconds that it names. All else stays as it was written."""
    place, mark, query = url.partition("?")
    options = query.split("&")
    ttls = [option.removeprefix("ttl=") for option in options if option.startswith("ttl=")]
    if not ttls:
        return url, None
    try:
        ttl = check_ttl(float(ttls[-1]))
    except ValueError:
        text = f"the ttl of {shown(url)} is no number of seconds above 0: write such as ttl=3600"
        raise StoreUrlError(text, scheme=scheme_of(url)) from None
    rest = "&".join(option for option in options if not option.startswith("ttl="))
    return place + (mark + rest if rest else ""), ttl


def _scheme(url: str) -> str:
    """The scheme of a store URL. Raises StoreUrlError for what is none, and for a server's URL whose parts cannot be told apart."""
    scheme = scheme_of(url)
    if not scheme:
        raise StoreUrlError(f"{shown(url)} is no store URL: write json:///dir, sqlite:///file or memory://", scheme="")
    if scheme in ENGINES and (wrong := fault(url)):
        raise StoreUrlError(f"this {scheme}:// URL cannot be taken: {wrong}", scheme=scheme)
    return scheme


def _place(url: str, rest: str) -> tuple[str, dict[str, str]]:
    # Imported here: only a URL needs it, and it would double what importing a store costs.
    from urllib.parse import parse_qsl, unquote

    path, _, query = rest.partition("?")
    path = os.path.expanduser(unquote(path))
    if not path or path == "/":
        raise StoreUrlError(f"{shown(url)} names no place: write json:///dir or sqlite:///file", scheme=url.partition(":")[0])
    if not path.startswith(("/", "./", "../")):
        raise StoreUrlError(
            f"{shown(url)} is neither absolute nor marked as relative: write ///dir for an absolute path, //./dir for a relative one",
            scheme=url.partition(":")[0],
        )
    return path, dict(parse_qsl(query))


def _opener(scheme: str) -> Callable[..., Backend]:
    """What opens a scheme that an installed package brings."""
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS, name=scheme):
        opener: Callable[..., Backend] = point.load()
        return opener
    known = sorted({"json", "sqlite", "memory", *ENGINES, *(point.name for point in entry_points(group=ENTRY_POINTS))})
    raise StoreUrlError(f"no installed backend serves {scheme}:// (these do: {', '.join(known)})", scheme=scheme)
