"""Opening what ``--store`` names: a store URL, or a class of one's own with the five methods."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar
from urllib.parse import quote

import typer

from turnlog.backends.addresses import shown
from turnlog.protocols import AsyncSessionStoreProtocol
from turnlog.session import AdaptedStore, AsyncAdaptedStore, AsyncSessionStore, SessionStore, adapt_store, open_store
from turnlog.session.databases import ENGINES
from turnlog.session.stores import sessions_dir

Store = SessionStore | AdaptedStore

T = TypeVar("T")


@contextmanager
def open_any(url: str | None) -> Iterator[Store]:
    """The store at a URL (None: ``TURNLOG_STORE``, or the default directory), or of ``PACKAGE.MODULE:NAME``, closed in the end.

    Raises StoreUrlError for a URL, typer.BadParameter for a name that gives no store.
    """
    name = url or os.environ.get("TURNLOG_STORE") or ""
    if "://" in name or ":" not in name:
        with open_store(url) as store:
            yield store
        return
    made, adapted = made_of(name)
    if isinstance(adapted, AsyncAdaptedStore):
        with Waiting(made) as waiting:
            yield adapt_store(waiting)
    else:
        with adapted:
            yield adapted


def made_of(name: str) -> tuple[Any, SessionStore | AdaptedStore | AsyncAdaptedStore]:
    """What ``PACKAGE.MODULE:NAME`` makes, and the same adapted. Raises typer.BadParameter for a name that gives no store."""
    if name.partition(":")[0] in ("json", "sqlite", "memory", *ENGINES):
        text = f"{shown(name)} is no store URL: one begins like sqlite:///dir/file, sqlite://./file, memory:// or redis://host"
        raise typer.BadParameter(text, param_hint="'--store'")
    # Imported here, as what follows for async stores: few command lines need it, and each would wait for it.
    from turnlog.testing.targets import load

    try:
        made = load(name)()
        adapted = adapt_store(made)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise typer.BadParameter(f"{name} gives no store: {error}", param_hint="'--store'") from error
    if isinstance(adapted, AsyncSessionStore):
        raise typer.BadParameter(f"{name} gives an async store: name its sync form, or a URL", param_hint="'--store'")
    return made, adapted


def named_url(url: str | None) -> str:
    """The URL of the store that would be opened, also for the default directory, which needs none."""
    return url or os.environ.get("TURNLOG_STORE") or f"json://{quote(os.path.abspath(sessions_dir()))}"


class Waiting:
    """The five methods of an async store, each run to its end on an event loop of its own."""

    def __init__(self, store: AsyncSessionStoreProtocol) -> None:
        import asyncio

        self._store = store
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        """See SessionStoreProtocol.add_message."""
        return self._run(self._store.add_message, session_id, role, content, metadata)

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        """See SessionStoreProtocol.get_chat_history."""
        return self._run(self._store.get_chat_history, session_id, max_messages)

    def clear_session(self, session_id: str) -> bool:
        """See SessionStoreProtocol.clear_session."""
        return self._run(self._store.clear_session, session_id)

    def delete_session(self, session_id: str) -> bool:
        """See SessionStoreProtocol.delete_session."""
        return self._run(self._store.delete_session, session_id)

    def session_exists(self, session_id: str) -> bool:
        """See SessionStoreProtocol.session_exists."""
        return self._run(self._store.session_exists, session_id)

    def _run(self, method: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        return self._runner.run(method(*arguments))
