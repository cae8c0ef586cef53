"""The public face: stores, their contract, values and errors. Names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnlog.errors import BackendUnavailableError as BackendUnavailableError
    from turnlog.errors import ClosedStoreError as ClosedStoreError
    from turnlog.errors import ConflictError as ConflictError
    from turnlog.errors import CorruptSessionError as CorruptSessionError
    from turnlog.errors import FormatVersionError as FormatVersionError
    from turnlog.errors import InvalidCursorError as InvalidCursorError
    from turnlog.errors import InvalidMessageError as InvalidMessageError
    from turnlog.errors import InvalidSessionIdError as InvalidSessionIdError
    from turnlog.errors import LockTimeoutError as LockTimeoutError
    from turnlog.errors import MessageIndexError as MessageIndexError
    from turnlog.errors import MessageTooLargeError as MessageTooLargeError
    from turnlog.errors import NothingToUndoError as NothingToUndoError
    from turnlog.errors import SessionError as SessionError
    from turnlog.errors import SessionNotFoundError as SessionNotFoundError
    from turnlog.errors import SnapshotNotFoundError as SnapshotNotFoundError
    from turnlog.errors import StorageError as StorageError
    from turnlog.errors import UnsupportedVerbError as UnsupportedVerbError
    from turnlog.messages import SessionMessage as SessionMessage
    from turnlog.protocols import AsyncSessionStoreProtocol as AsyncSessionStoreProtocol
    from turnlog.protocols import SessionStoreProtocol as SessionStoreProtocol
    from turnlog.session.adapt import AdaptedStore as AdaptedStore
    from turnlog.session.adapt import AsyncAdaptedStore as AsyncAdaptedStore
    from turnlog.session.adapt import adapt_store as adapt_store
    from turnlog.session.databases import AsyncMongoSessionStore as AsyncMongoSessionStore
    from turnlog.session.databases import AsyncPostgresSessionStore as AsyncPostgresSessionStore
    from turnlog.session.databases import AsyncRedisSessionStore as AsyncRedisSessionStore
    from turnlog.session.databases import MongoSessionStore as MongoSessionStore
    from turnlog.session.databases import PostgresSessionStore as PostgresSessionStore
    from turnlog.session.databases import RedisSessionStore as RedisSessionStore
    from turnlog.session.opening import StoreUrlError as StoreUrlError
    from turnlog.session.opening import get_default_session_store as get_default_session_store
    from turnlog.session.opening import get_hierarchical_session_store as get_hierarchical_session_store
    from turnlog.session.opening import open_async_store as open_async_store
    from turnlog.session.opening import open_store as open_store
    from turnlog.session.stores import AsyncDefaultSessionStore as AsyncDefaultSessionStore
    from turnlog.session.stores import AsyncHierarchicalSessionStore as AsyncHierarchicalSessionStore
    from turnlog.session.stores import AsyncInMemorySessionStore as AsyncInMemorySessionStore
    from turnlog.session.stores import AsyncSqliteSessionStore as AsyncSqliteSessionStore
    from turnlog.session.stores import DefaultSessionStore as DefaultSessionStore
    from turnlog.session.stores import HierarchicalSessionStore as HierarchicalSessionStore
    from turnlog.session.stores import InMemorySessionStore as InMemorySessionStore
    from turnlog.session.stores import SqliteSessionStore as SqliteSessionStore
    from turnlog.store.aio import AsyncSessionStore as AsyncSessionStore
    from turnlog.store.conditions import InvalidArgumentError as InvalidArgumentError
    from turnlog.store.sync import SessionStore as SessionStore
    from turnlog.store.values import ImportReport as ImportReport
    from turnlog.store.values import OpenTurn as OpenTurn
    from turnlog.store.values import SessionData as SessionData
    from turnlog.store.values import SessionDiff as SessionDiff
    from turnlog.store.values import SessionHit as SessionHit
    from turnlog.store.values import SessionInfo as SessionInfo
    from turnlog.store.values import SessionSnapshot as SessionSnapshot
    from turnlog.store.values import SessionSummary as SessionSummary
    from turnlog.store.values import SweepReport as SweepReport
    from turnlog.trim import Window as Window
    from turnlog.validity import HistoryProblem as HistoryProblem
    from turnlog.validity import repair_history as repair_history
    from turnlog.validity import validate_history as validate_history

_HOMES = {
    "turnlog.errors": (
        "BackendUnavailableError ClosedStoreError ConflictError CorruptSessionError FormatVersionError InvalidCursorError "
        "InvalidMessageError InvalidSessionIdError LockTimeoutError MessageIndexError MessageTooLargeError NothingToUndoError "
        "SessionError SessionNotFoundError SnapshotNotFoundError StorageError UnsupportedVerbError"
    ),
    "turnlog.messages": "SessionMessage",
    "turnlog.protocols": "AsyncSessionStoreProtocol SessionStoreProtocol",
    "turnlog.session.adapt": "AdaptedStore AsyncAdaptedStore adapt_store",
    "turnlog.session.databases": (
        "AsyncMongoSessionStore AsyncPostgresSessionStore AsyncRedisSessionStore MongoSessionStore PostgresSessionStore RedisSessionStore"
    ),
    "turnlog.session.opening": ("StoreUrlError get_default_session_store get_hierarchical_session_store open_async_store open_store"),
    "turnlog.session.stores": (
        "AsyncDefaultSessionStore AsyncHierarchicalSessionStore AsyncInMemorySessionStore AsyncSqliteSessionStore "
        "DefaultSessionStore HierarchicalSessionStore InMemorySessionStore SqliteSessionStore"
    ),
    "turnlog.store.aio": "AsyncSessionStore",
    "turnlog.store.conditions": "InvalidArgumentError",
    "turnlog.store.sync": "SessionStore",
    "turnlog.store.values": (
        "ImportReport OpenTurn SessionData SessionDiff SessionHit SessionInfo SessionSnapshot SessionSummary SweepReport"
    ),
    "turnlog.trim": "Window",
    "turnlog.validity": "HistoryProblem repair_history validate_history",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605  # the names above, spelled out for type checkers under TYPE_CHECKING


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
