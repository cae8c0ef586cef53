"""The built-in stores under the names people import: JSON files, JSON files with a tree, SQLite, memory; sync and async."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from turnlog.errors import SessionNotFoundError
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore

if TYPE_CHECKING:
    from turnlog.backends.json_file import JsonFileBackend
    from turnlog.backends.memory import MemoryBackend
    from turnlog.backends.sqlite import SqliteBackend

Durability = Literal["power", "process"]
Directory = str | os.PathLike[str]


def home() -> str:
    """The directory of all turnlog keeps by default: ``PRAISONAI_HOME``, or ``~/.praisonai``. Looked up at every call."""
    return os.path.expanduser(os.environ.get("PRAISONAI_HOME") or "~/.praisonai")


def sessions_dir() -> str:
    """The default directory of session files."""
    return os.path.join(home(), "sessions")


def json_backend(session_dir: Directory | None, lock_timeout: float, durability: Durability) -> JsonFileBackend:
    """The engine of JSON files in a directory."""
    from turnlog.backends.json_file import JsonFileBackend

    return JsonFileBackend(os.fspath(session_dir or sessions_dir()), durability=durability, lock_timeout=lock_timeout)


def sqlite_backend(path: Directory | None, timeout: float, durability: Durability, *, search: bool = False) -> SqliteBackend:
    """The engine of one SQLite file."""
    from turnlog.backends.sqlite import SqliteBackend

    file = os.fspath(path or os.path.join(home(), "sessions.sqlite"))
    return SqliteBackend(file, durability=durability, timeout=timeout, search=search)


def memory_backend() -> MemoryBackend:
    """An engine of plain dicts."""
    from turnlog.backends.memory import MemoryBackend

    return MemoryBackend()


class DefaultSessionStore(SessionStore):
    """One JSON file per session in a directory; no configuration, no dependencies.

    ``session_dir``: where (default ``~/.praisonai/sessions``; ``PRAISONAI_HOME`` moves it). ``max_messages``: how many a session keeps
    (None: all). ``lock_timeout``: seconds to wait for another writer before LockTimeoutError. ``durability``: "power" (what was
    stored survives power loss) or "process" (it survives kill -9). ``ttl``: sessions that this store creates expire that many seconds
    after their last change (None: never).
    """

    def __init__(
        self,
        session_dir: Directory | None = None,
        max_messages: int | None = None,
        lock_timeout: float = 5.0,
        *,
        durability: Durability = "power",
        ttl: float | None = None,
    ) -> None:
        super().__init__(json_backend(session_dir, lock_timeout, durability), max_messages, ttl=ttl)


class AsyncDefaultSessionStore(AsyncSessionStore):
    """DefaultSessionStore for event loops."""

    def __init__(
        self,
        session_dir: Directory | None = None,
        max_messages: int | None = None,
        lock_timeout: float = 5.0,
        *,
        durability: Durability = "power",
        ttl: float | None = None,
    ) -> None:
        super().__init__(json_backend(session_dir, lock_timeout, durability), max_messages, ttl=ttl)


class HierarchicalSessionStore(DefaultSessionStore):
    """DefaultSessionStore whose ``export_session`` gives the session without an envelope. The tree verbs are the same on all stores."""

    def export_session(self, session_id: str, *, include_lineage: bool = False) -> dict[str, Any]:
        """The session as one JSON object, for ``import_session``. Raises SessionNotFoundError."""
        return only_session(super().export_session(session_id, include_lineage=False), session_id)


class AsyncHierarchicalSessionStore(AsyncDefaultSessionStore):
    """HierarchicalSessionStore for event loops."""

    async def export_session(self, session_id: str, *, include_lineage: bool = False) -> dict[str, Any]:
        """The session as one JSON object, for ``import_session``. Raises SessionNotFoundError."""
        return only_session(await super().export_session(session_id, include_lineage=False), session_id)


class SqliteSessionStore(SessionStore):
    """All sessions in one SQLite file (WAL), for many threads and processes; forks share messages.

    ``path``: the file (default ``sessions.sqlite`` beside the default sessions). ``timeout``: seconds to wait for another writer.
    ``search=True`` keeps an index of words for ``search``. ``max_messages``, ``durability`` and ``ttl`` as in DefaultSessionStore.
    """

    def __init__(
        self,
        path: Directory | None = None,
        max_messages: int | None = None,
        *,
        durability: Durability = "power",
        timeout: float = 5.0,
        ttl: float | None = None,
        search: bool = False,
    ) -> None:
        super().__init__(sqlite_backend(path, timeout, durability, search=search), max_messages, ttl=ttl)


class AsyncSqliteSessionStore(AsyncSessionStore):
    """SqliteSessionStore for event loops."""

    def __init__(
        self,
        path: Directory | None = None,
        max_messages: int | None = None,
        *,
        durability: Durability = "power",
        timeout: float = 5.0,
        ttl: float | None = None,
        search: bool = False,
    ) -> None:
        super().__init__(sqlite_backend(path, timeout, durability, search=search), max_messages, ttl=ttl)


class InMemorySessionStore(SessionStore):
    """Sessions in this process's memory, for tests; everything else as in the other stores."""

    def __init__(self, max_messages: int | None = None, *, ttl: float | None = None) -> None:
        super().__init__(memory_backend(), max_messages, ttl=ttl)


class AsyncInMemorySessionStore(AsyncSessionStore):
    """InMemorySessionStore for event loops."""

    def __init__(self, max_messages: int | None = None, *, ttl: float | None = None) -> None:
        super().__init__(memory_backend(), max_messages, ttl=ttl)


def only_session(payload: dict[str, Any], session_id: str) -> dict[str, Any]:
    """The one session of an export."""
    if not payload["sessions"]:
        raise SessionNotFoundError(f"there is no session {session_id!r} to export", session_id=session_id)
    session: dict[str, Any] = payload["sessions"][0]
    return session
