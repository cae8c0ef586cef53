"""examine: what is wrong with a store, read without changing anything, and mended only where that is safe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from turnlog.backends.json_file import JsonFileBackend
from turnlog.backends.sqlite import SqliteBackend
from turnlog.errors import UnsupportedVerbError
from turnlog.session.opening import open_backend
from turnlog.store.sync import SessionStore
from turnlog.transfer import doctor_json, doctor_sqlite
from turnlog.transfer.findings import Finding as Finding


def examine(url: str, *, fix: bool = False) -> list[Finding]:
    """What is wrong with the store at ``url`` (json:// or sqlite://), by path. A place where nothing is yet has nothing wrong.

    Without ``fix`` not a byte is changed, also of a store in use. With it, what is safe is done: the store itself mends torn files and
    brings back what other programs set aside, unfinished temporary files go, rights are set, remains of erased sessions are
    swept. Nothing is deleted that holds messages of a session that is there. Raises StoreUrlError, UnsupportedVerbError, StorageError.
    """
    backend = open_backend(url)
    store = SessionStore(backend)
    try:
        look, mend = _ways(backend, store)
        found = look()
        if not fix or not found:
            return found
        mend(found)
        after = look()
        left = {(each.kind, each.path, each.text) for each in after}
        seen = {(each.kind, each.path, each.text) for each in found}
        done = [replace(each, fixed=(each.kind, each.path, each.text) not in left) for each in found]
        return done + [each for each in after if (each.kind, each.path, each.text) not in seen]
    finally:
        store.close()


def _ways(backend: object, store: SessionStore) -> tuple[Callable[[], list[Finding]], Callable[[list[Finding]], None]]:
    """How to look at a store of this kind, and how to mend it."""
    if isinstance(backend, JsonFileBackend):
        root = backend.root
        return lambda: doctor_json.look(root), lambda found: doctor_json.mend(store, found)
    if isinstance(backend, SqliteBackend):
        path = backend.path
        return lambda: doctor_sqlite.look(path), lambda found: doctor_sqlite.mend(store, found)
    text = f"the doctor knows json:// and sqlite:// stores, not {type(backend).__name__}: use the tools of that engine"
    raise UnsupportedVerbError(text, verb="examine", reason="no such doctor")
