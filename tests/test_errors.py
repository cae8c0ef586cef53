"""The tree of errors: what a handler may catch, what it may read, and that errors travel between processes."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from turnlog import errors, session
from turnlog.errors import SessionError
from turnlog.session.opening import StoreUrlError

ALL = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, SessionError)] + [StoreUrlError]

ALSO = {
    "InvalidSessionIdError": ValueError,
    "InvalidMessageError": ValueError,
    "MessageTooLargeError": ValueError,
    "MessageIndexError": ValueError,
    "InvalidCursorError": ValueError,
    "StoreUrlError": ValueError,
    "SessionNotFoundError": LookupError,
    "SnapshotNotFoundError": LookupError,
    "NothingToUndoError": LookupError,
    "UnsupportedVerbError": NotImplementedError,
    "StorageError": OSError,
    "LockTimeoutError": TimeoutError,
    "BackendUnavailableError": OSError,
    "CorruptSessionError": OSError,
    "FormatVersionError": OSError,
}


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_a_session_error_and_public(kind: type[SessionError]) -> None:
    assert issubclass(kind, SessionError)
    assert getattr(session, kind.__name__) is kind
    assert kind.__name__ in session.__all__
    assert kind.__doc__
    assert kind.__doc__.strip().endswith(".")


@pytest.mark.parametrize(("name", "also"), ALSO.items())
def test_handlers_written_for_python_catch_them(name: str, also: type[Exception]) -> None:
    assert issubclass(getattr(session, name), also)


def test_what_a_store_cannot_do_it_does_not_seem_to_have() -> None:
    assert issubclass(session.UnsupportedVerbError, AttributeError)


@pytest.mark.parametrize("kind", ALL)
def test_text_and_context_travel(kind: type[SessionError]) -> None:
    error = kind("what went wrong: what to do", session_id="s\ud800", index=3, path="/p")
    for twin in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is kind
        assert str(twin) == "what went wrong: what to do"
        assert twin.message == "what went wrong: what to do"
        assert twin.session_id == "s\ud800"
        assert (twin.index, twin.path) == (3, "/p")  # type: ignore[attr-defined]
    assert repr(error) == f"{kind.__name__}('what went wrong: what to do')"


def test_a_storage_error_has_the_number_of_its_cause() -> None:
    assert session.StorageError("full", errno=28).errno == 28
    assert session.StorageError("full").errno is None


def test_context_that_was_not_given_is_absent() -> None:
    assert SessionError("x").session_id is None
    assert not hasattr(SessionError("x"), "index")
