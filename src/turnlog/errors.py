"""Every error turnlog raises: one tree under SessionError, context as attributes, no message content in any text."""

from __future__ import annotations

from typing import Any


class SessionError(Exception):
    """Base of all turnlog errors.

    ``session_id`` and further keyword context become attributes, so that a handler reads values instead of parsing text.
    """

    session_id: str | None = None

    def __init__(self, message: str, **context: Any) -> None:
        super().__init__(message)
        self.message = message
        for name, value in context.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        return self.message


class InvalidSessionIdError(SessionError, ValueError):
    """The session id is not a non-empty str of at most 1,024 characters."""


class InvalidMessageError(SessionError, ValueError):
    """A message cannot be kept exactly as JSON (NaN, bytes, sets, cycles, non-str keys), or has no usable shape."""


class MessageTooLargeError(InvalidMessageError):
    """One message encodes to more than 12 MB. Attributes: ``size`` and ``limit`` in bytes."""


class MessageIndexError(SessionError, ValueError, IndexError):
    """A message index lies outside the kept history. Attributes: ``index``, ``count``."""


class InvalidCursorError(SessionError, ValueError):
    """A page was asked for with a cursor that no page gave. Attribute: ``cursor``."""


class SessionNotFoundError(SessionError, LookupError):
    """A verb that needs an existing session was given an id that has none."""


class SnapshotNotFoundError(SessionError, LookupError):
    """No snapshot of that id belongs to the session. Attribute: ``snapshot_id``."""


class NothingToUndoError(SessionError, LookupError):
    """The session has no revert left to undo."""


class ConflictError(SessionError):
    """A compare-and-set lost, or a known message id came with other content. Attributes: ``expected``, ``actual`` (revisions)."""


class UnsupportedVerbError(SessionError, NotImplementedError, AttributeError):
    """The store cannot do this, whatever the arguments. Attributes: ``verb``, ``reason``. ``hasattr`` takes it for a no."""


class ClosedStoreError(SessionError):
    """The store was used after ``close()``."""


class StorageError(SessionError, OSError):
    """The place where sessions are kept failed; nothing that was acknowledged is affected. ``__cause__`` is the driver's error."""


class LockTimeoutError(StorageError, TimeoutError):
    """Another writer held the session's lock longer than ``lock_timeout`` seconds. Nothing was written."""


class BackendUnavailableError(StorageError):
    """The server cannot be reached. Attribute: ``host`` (never a password)."""


class CorruptSessionError(StorageError):
    """Stored data cannot be read as what it must be. Attribute: ``path`` where the data was set aside or still lies."""


class FormatVersionError(StorageError):
    """The data was written by a newer turnlog. Attributes: ``found``, ``supported`` (format numbers)."""
