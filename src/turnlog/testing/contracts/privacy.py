"""Promise 3.12: nothing private leaks: files 0600 and directories 0700, and no content in logs, errors or on the terminal."""

from __future__ import annotations

import io
import logging
import os
import stat
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from turnlog.testing.checks import NotRun, holds, raises, same
from turnlog.testing.contracts.erasure import SECRET
from turnlog.testing.contracts.errors import GARBAGE
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial


@case("3.12.1", "Every file is 0600 and every directory 0700, whatever the umask", needs=["place"])
def modes(trial: Trial) -> None:
    before = os.umask(0)
    try:
        store = trial.store
        for name in ("s", "a/b", "x" * 300):
            store.add_messages(name, [{"role": "user", "content": f"{i}"} for i in range(5)])
            store.set_title(name, "t")
            store.put_open_turn(name, "turn", [{"role": "user", "content": "x"}])
            store.create_snapshot(name)
            store.revert_to_message(name, 1)
            store.fork_session(name)
            _check_modes(trial)
        store.clear_session("s")
        store.sweep(compact=True)
        store.upsert_partial_assistant_message("s", "draft")
        _check_modes(trial)
        store.close()
        _check_modes(trial)
    finally:
        os.umask(before)


def _check_modes(trial: Trial) -> None:
    trial.files()
    for path in sorted(trial.place.rglob("*")):
        mode, wanted = stat.S_IMODE(path.stat().st_mode), 0o700 if path.is_dir() else 0o600
        holds(mode == wanted, f"{path.relative_to(trial.place)} has the mode {wanted:o}", f"{mode:o}")


@contextmanager
def _heard(into: io.StringIO) -> Iterator[None]:
    """Collect all that is logged, at any level, or printed."""
    handler = logging.StreamHandler(into)
    root, levels = logging.getLogger(), {}
    for name in [None, *logging.root.manager.loggerDict]:
        logger = logging.getLogger(name)
        levels[logger] = logger.level
        logger.setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        with redirect_stdout(into), redirect_stderr(into):
            yield
    finally:
        root.removeHandler(handler)
        for logger, level in levels.items():
            logger.setLevel(level)


@case("3.12.2", "No content in logs or on the terminal, whatever is done")
def logs(trial: Trial) -> None:
    heard = io.StringIO()
    with _heard(heard):
        store = trial.store
        store.add_messages("s", [{"role": "user", "content": f"{SECRET} {i}", "metadata": {"k": SECRET}} for i in range(4)])
        snapshot = store.create_snapshot("s")
        store.revert_to_message("s", 1)
        store.revert_to_snapshot("s", snapshot)
        store.set_title("s", SECRET)
        child = store.fork_session("s", 1)
        store.search(SECRET)
        store.upsert_partial_assistant_message("s", SECRET)
        store.put_open_turn("s", "turn", [{"role": "user", "content": SECRET}], info={"k": SECRET})
        for failing in _failures(store):
            raises(Exception, failing, "a call that cannot be done")
        store.import_sessions(store.export_all())
        store.delete_session(child)
        store.clear_session("s")
        store.sweep(compact=True)
        store.close()
    holds(SECRET not in heard.getvalue(), "no content in what is logged or printed", heard.getvalue()[:200])


def _failures(store: Any) -> list[Callable[[], Any]]:
    """Calls that fail and were given content; on a session ``s`` that exists."""
    store.add_message("s", "user", f"{SECRET} first", message_id="known")
    nested = {"parts": [{"text": SECRET}, {"data": float("nan")}]}
    return [
        partial(store.add_message, "s", "user", f"{SECRET} second", message_id="known"),
        partial(store.add_messages, "s", [{"role": "user", "content": SECRET}], expect_revision="none"),
        partial(store.add_messages, "none", [{"role": "user", "content": SECRET}], expect_revision="none"),
        partial(store.add_message, "s", "user", SECRET.encode()),
        partial(store.add_message, "s", "user", {SECRET}),
        partial(store.add_message, "s", "user", nested),
        partial(store.add_message, "s", "user", [SECRET, object()]),
        partial(store.add_message, "s", "user", SECRET * 1_000_000),
        partial(store.add_message, "s", "user", "x", {"k": [SECRET, float("inf")]}),
        partial(store.add_messages, "s", [SECRET]),
        partial(store.add_messages, "s", SECRET),
        partial(store.set_chat_history, "s", [{"role": "user", "content": [SECRET, b"x"]}]),
        partial(store.put_open_turn, "s", "turn", [{"role": "user", "content": [SECRET, b"x"]}]),
        partial(store.put_open_turn, "s", "turn", [], info={"k": [SECRET, float("nan")]}),
        partial(store.update_session_metadata, "s", key=[SECRET, float("nan")]),
        partial(store.import_sessions, {"sessions": SECRET}),
        partial(store.revert_to_message, "s", 10**6),
        partial(store.fork_session, "s", new_session_id="s"),
    ]


def _all_of(error: BaseException) -> str:
    """Every text that a handler of the error could log: message, attributes, traceback, causes."""
    parts = ["".join(traceback.format_exception(error, limit=0))]
    seen: BaseException | None = error
    while seen is not None:
        parts += [repr(seen), repr(seen.args), repr({name: value for name, value in vars(seen).items() if not name.startswith("__")})]
        parts += [repr(getattr(seen, name)) for name in ("object", "doc", "obj") if hasattr(seen, name)]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\n".join(parts)


@case("3.12.3", "No content in errors: not in their text, not in their attributes, not in their causes")
def errors(trial: Trial) -> None:
    trial.store.add_message("s", "user", "x")
    for failing in _failures(trial.store):
        error = raises(Exception, failing, "a call that cannot be done")
        told = _all_of(error)
        holds(SECRET not in told, f"no content in the {type(error).__name__}", told[:400])
    same(len(trial.store.get_chat_history("s")), 2, "the number of messages")


@case("3.12.4", "No content in errors about unreadable data", needs=["place"])
def unreadable(trial: Trial) -> None:
    for number, damage in enumerate((_cut, _overwrite, _append)):
        place = trial.root / f"damaged-{number}" / "place"
        place.mkdir(parents=True, mode=0o700)
        store = trial.open_again(place)
        store.add_messages("s", [{"role": "user", "content": f"{SECRET} {i}"} for i in range(40)])
        store.close()
        for path in trial.files(place):
            damage(path)
        heard = io.StringIO()
        with _heard(heard):
            try:
                trial.open_again(place).get_chat_history("s")
            except Exception as error:  # noqa: BLE001  # which kind it is, is for the cases of promise 3.5
                holds(SECRET not in _all_of(error), f"no content in the {type(error).__name__}", _all_of(error)[:400])
        holds(SECRET not in heard.getvalue(), "no content in what is logged or printed", heard.getvalue()[:200])


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def _overwrite(path: Path) -> None:
    data = bytearray(path.read_bytes())
    half = len(data) // 2
    data[half : half + 60] = GARBAGE[: len(data[half : half + 60])]
    path.write_bytes(bytes(data))


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + GARBAGE + SECRET.encode())


@case("3.12.5", "Every directory that the store makes on the way to a new place is 0700, under any usual umask", needs=["place"])
def made_on_the_way(trial: Trial) -> None:
    for mask in (0, 0o022, 0o027):
        root = trial.new_place()
        before = os.umask(mask)
        try:
            store = _open_unmade(trial, root / "one" / "two" / root.name)
            store.add_message("s", "user", "x")
            store.close()
        finally:
            os.umask(before)
        found = [path for path in sorted(root.rglob("*")) if path.is_dir()]
        if not found:
            raise NotRun("the store keeps no files in its place")
        for path in found:
            mode = stat.S_IMODE(path.stat().st_mode)
            holds(mode == 0o700, f"{path.relative_to(root)} has the mode 700, made under the umask {mask:03o}", f"{mode:o}")


def _open_unmade(trial: Trial, place: Path) -> Any:
    """A store in a directory that is not there yet, nor are those above it; NotRun where only a made one will do."""
    try:
        store = trial.open_again(place)
        store.session_exists("s")
    except OSError as error:
        if place.parent.exists():
            raise
        raise NotRun("the store makes no directories: it opens only in one that is there") from error
    return store
