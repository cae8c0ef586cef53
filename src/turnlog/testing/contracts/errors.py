"""Promise 3.5: errors are raised, typed, in one tree, with values as attributes; corrupt data is reported and kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from turnlog.errors import (
    ClosedStoreError,
    InvalidMessageError,
    InvalidSessionIdError,
    MessageIndexError,
    NothingToUndoError,
    SessionError,
    SessionNotFoundError,
    SnapshotNotFoundError,
    StorageError,
)
from turnlog.testing.checks import Mismatch, NotRun, holds, raises, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts, turn

GARBAGE = b"\x00\xffnot what any store writes {[\n" * 400


@case("3.5.1", "Index errors are raised, not answered with False, and change nothing")
def indexes(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    before = store.get_revision("s")
    for index in (3, 10**9, -1, -4):
        error = raises(MessageIndexError, partial(store.revert_to_message, "s", index), f"revert_to_message('s', {index})")
        holds(isinstance(error, ValueError), "an index error that is also a ValueError", type(error).__mro__)
        same((getattr(error, "index", None), getattr(error, "count", None)), (index, 3), "the error's index and count")
        raises(MessageIndexError, partial(store.fork_session, "s", index), f"fork_session('s', {index})")
    raises(MessageIndexError, lambda: store.get_chat_history("s", -1), "get_chat_history with a negative number")
    same(store.get_revision("s"), before, "the revision")
    same([one["session_id"] for one in store.list_sessions()], ["s"], "the sessions")


@case("3.5.2", "A verb that needs a session raises SessionNotFoundError where there is none, and creates nothing")
def missing_sessions(trial: Trial) -> None:
    store = trial.store
    verbs: dict[str, Callable[[], Any]] = {
        "fork_session": lambda: store.fork_session("none"),
        "fork_session at an index": lambda: store.fork_session("none", 0),
        "create_snapshot": lambda: store.create_snapshot("none"),
        "revert_to_message": lambda: store.revert_to_message("none", 0),
        "revert_to_snapshot": lambda: store.revert_to_snapshot("none", "x"),
        "undo_revert": lambda: store.undo_revert("none"),
        "get_session_tree": lambda: store.get_session_tree("none"),
        "diff": lambda: store.diff("none", "none"),
    }
    for name, verb in verbs.items():
        error = raises(SessionNotFoundError, verb, name)
        same(getattr(error, "session_id", None), "none", f"the attribute session_id of the error of {name}")
    same(store.list_sessions(), [], "the sessions")


@case("3.5.3", "A snapshot that is not there and a revert that is not there to undo are errors")
def missing_snapshots(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    store.add_messages("t", turn("w", 0))
    foreign = store.create_snapshot("t")
    for snapshot in ("none", "", foreign):
        error = raises(SnapshotNotFoundError, partial(store.revert_to_snapshot, "s", snapshot), "revert_to_snapshot")
        same(getattr(error, "snapshot_id", None), snapshot, "the attribute snapshot_id")
        raises(SnapshotNotFoundError, partial(store.delete_snapshot, "s", snapshot), "delete_snapshot")
    raises(NothingToUndoError, lambda: store.undo_revert("s"), "undo_revert without a revert")
    same(len(store.get_chat_history("s")), 3, "the number of messages")


@case("3.5.4", "Invalid session ids raise InvalidSessionIdError in every verb, and write nothing")
def session_ids(trial: Trial) -> None:
    store = trial.store
    invalid: list[Any] = ["", "x" * 1025, None, 7, b"bytes", ["list"]]
    verbs: dict[str, tuple[Any, ...]] = {
        "add_message": ("user", "x"),
        "add_messages": (turn("w", 0),),
        "get_chat_history": (),
        "get_messages": (),
        "get_revision": (),
        "session_exists": (),
        "clear_session": (),
        "delete_session": (),
        "set_title": ("t",),
        "create_session": (),
    }
    for bad in invalid:
        for name, rest in verbs.items():
            if name == "create_session" and bad is None:
                continue
            raises(InvalidSessionIdError, partial(getattr(store, name), bad, *rest), f"{name} of the id {bad!r:.20}")
    same(store.list_sessions(), [], "the sessions")


@case("3.5.5", "What is no message is refused with InvalidMessageError")
def no_messages(trial: Trial) -> None:
    store = trial.store
    no_messages_at_all: list[Any] = [["text"], [None], [7], [{}], "text", {"role": "user"}]
    no_roles: list[Any] = [[{"role": 7, "content": "x"}], [{"role": "", "content": "x"}], [{"role": None, "content": "x"}]]
    for bad in no_messages_at_all + no_roles:
        raises(InvalidMessageError, partial(store.add_messages, "s", bad), f"add_messages of {bad!r}")
    for role in (None, 7, ""):
        raises(InvalidMessageError, partial(store.add_message, "s", role, "x"), f"add_message with the role {role!r}")
    same(store.session_exists("s"), False, "session_exists after refusals")


@case("3.5.6", "Every error is a SessionError that says what to do, and the store goes on after it")
def one_tree(trial: Trial) -> None:
    store = trial.store
    store.add_message("s", "user", "x")
    verbs: list[Callable[[], Any]] = [
        lambda: store.revert_to_message("s", 5),
        lambda: store.revert_to_snapshot("s", "none"),
        lambda: store.undo_revert("s"),
        lambda: store.add_messages("s", turn("w", 0), expect_revision="none"),
        lambda: store.add_message("s", "user", float("nan")),
        lambda: list(store.iter_sessions(cursor="no cursor of ours")),
        lambda: store.fork_session("none"),
        lambda: store.fork_session("s", new_session_id="s"),
    ]
    for verb in verbs:
        error = raises(SessionError, verb, "a call that cannot be done")
        holds(len(str(error)) > 15, "a text that says what was wrong", str(error))
        same(texts(store.get_chat_history("s")), ["x"], "the texts after an error")
    raises(ValueError, lambda: list(store.iter_sessions(cursor="no cursor of ours")), "a malformed cursor")


@case("3.5.7", "close can be called twice, and a closed store says so")
def closed(trial: Trial) -> None:
    store = trial.store
    store.add_message("s", "user", "x")
    store.close()
    store.close()
    raises(ClosedStoreError, lambda: store.add_message("s", "user", "y"), "add_message of a closed store")
    raises(ClosedStoreError, lambda: store.get_chat_history("s"), "get_chat_history of a closed store")


@case("3.5.8", "Data that is not the store's own is reported, never read as an empty session, and never overwritten", needs=["place"])
def corrupt(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    store.close()
    for path in trial.files():
        path.write_bytes(GARBAGE)
    try:
        again = trial.open_again()
        seen = again.get_chat_history("s")
    except StorageError:
        pass
    except Exception as error:
        raise Mismatch("a SessionError that is also an OSError", f"{type(error).__name__}: {error}") from error
    else:
        raise Mismatch("an error when the session's data is garbage", f"get_chat_history gave {seen!r:.80}")
    # Whatever the store does next, what lay there must still be found: perhaps a person can read it.
    with suppress(SessionError):
        trial.open_again().add_message("s", "user", "new")
    kept = any(GARBAGE in path.read_bytes() for path in trial.place.rglob("*") if path.is_file())
    holds(kept, "the unreadable data is still in one of the files", "it was overwritten or removed")


@case("3.5.9", "Damage in the middle of the data is reported, never skipped silently", needs=["place"], seconds=40)
def damaged(trial: Trial) -> None:
    store = trial.store
    wanted = [f"message {i} {'x' * 200}" for i in range(60)]
    for text in wanted:
        store.add_message("s", "user", text)
    store.close()
    marker = wanted[30].encode()
    holders = [path for path in trial.files() if marker in path.read_bytes()]
    if not holders:
        raise NotRun("no file in the place holds the text of a message as it is")
    for path in holders:
        _damage(path, marker)
    try:
        seen = texts(trial.open_again().get_chat_history("s"))
    except SessionError:
        return
    present = [text for text in seen if text in wanted]
    holds(len(seen) >= len(wanted) - 1 and len(present) >= len(wanted) - 1, "an error, or every undamaged message", f"{len(present)} of 60")
    holds(len(seen) == len(wanted), "an error, or as many messages as before", f"{len(seen)} of 60, and no error")


def _damage(path: Path, marker: bytes) -> None:
    """Overwrite the marker and what stands around it, so that the record is no longer what it must be."""
    data = bytearray(path.read_bytes())
    at = data.find(marker)
    while at >= 0:
        data[at - 12 : at + 30] = b"\x01" * 42
        at = data.find(marker[30:], at + 42)
    path.write_bytes(bytes(data))
