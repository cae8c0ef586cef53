"""Promise 3.11: formats have versions; what a newer version wrote is refused and left as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from turnlog.errors import FormatVersionError, SessionError
from turnlog.testing.checks import Mismatch, NotRun, holds, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts, turn

NUMBER = re.compile(rb'"(?:format|version|v|schema|format_?[vV]ersion|schema_?[vV]ersion)"\s*:\s*([0-9]+)(?![0-9.])')
"""A format number as JSON files have it."""

SQLITE = b"SQLite format 3\0"
USER_VERSION = slice(60, 64)
"""Where the header of an SQLite file keeps the number that its application gives its tables."""

SESSIONS = ("short", "long", "fork")


@case("3.11.1", "Data of a newer version is refused with FormatVersionError, and left as it is", needs=["place", "make_newer"])
def newer(trial: Trial) -> None:
    store, make_newer = trial.store, trial.subject.make_newer
    assert make_newer is not None, "the runner looks at needs first"
    store.add_messages("s", turn("w", 0))
    store.close()
    make_newer(trial.place)
    # A store on a server keeps none there, and its number in the server.
    before = {path: path.read_bytes() for path in trial.place.rglob("*") if path.is_file()}
    for name, call in (("get_chat_history", ("s",)), ("add_message", ("s", "user", "x")), ("clear_session", ("s",))):
        try:
            again = trial.open_again()
            answer = getattr(again, name)(*call)
        except FormatVersionError as error:
            found, supported = getattr(error, "found", None), getattr(error, "supported", None)
            holds(found != supported and found is not None, "the format numbers found and supported", (found, supported))
        else:
            raise Mismatch(f"{name} raises FormatVersionError", f"it returned {answer!r:.80}")
    after = {path: path.read_bytes() for path in before if path.exists()}
    same(after == before, True, "the files are as the newer version left them")


@case("3.11.2", "Every format number found in the files, once raised, is refused, never overlooked and never written over", needs=["place"])
def raised(trial: Trial) -> None:
    before, wanted = _furnished(trial)
    tried = 0
    for path, data in before.items():
        for what, changed in _raised(data):
            tried += 1
            where = f"{what} of {path.name} raised"
            place = trial.copied({**before, path: changed})
            refused = [_refuses_to_read(trial, place, name, wanted[name], where) for name in SESSIONS]
            holds(any(refused), f"FormatVersionError with {where}", "every session was read as before")
            for name, refuses in zip(SESSIONS, refused, strict=True):
                if refuses:
                    _try_to_write(trial, place, name)
            same((place / path.relative_to(trial.place)).read_bytes() == changed, True, f"the file is left as it is, with {where}")
    if not tried:
        raise NotRun("no format number was recognised in the files of the place")


def _furnished(trial: Trial) -> tuple[dict[Path, bytes], dict[str, list[Any]]]:
    """The files of a closed place with all kinds of data in it, and what its sessions tell."""
    store = trial.store
    store.add_messages("short", turn("w", 0))
    store.add_messages("long", [{"role": "user", "content": f"{i} {'x' * 5_000}"} for i in range(20)])
    store.fork_session("short", 1, new_session_id="fork")
    for name in SESSIONS:
        store.create_snapshot(name, "label")
        store.revert_to_message(name, 1)
        store.set_title(name, f"title of {name}")
        store.update_session_metadata(name, key="value")
        store.upsert_partial_assistant_message(name, "a draft")
        store.put_open_turn(name, "turn", [{"role": "user", "content": "an open turn"}])
    told = {name: [tell() for tell in _tellers(store, name)] for name in SESSIONS}
    store.close()
    return {path: path.read_bytes() for path in trial.files()}, told


def _tellers(store: Any, name: str) -> list[Callable[[], Any]]:
    """Reads that between them tell everything of a session."""

    def whole() -> Any:
        found = store.get_session(name)
        return found.title, found.metadata.get("key"), [message.content for message in found.messages]

    return [
        whole,
        lambda: texts(store.get_chat_history(name)),
        lambda: [one.label for one in store.get_snapshots(name)],
        lambda: [[message.content for message in one.messages] for one in store.get_open_turns(name)],
    ]


def _raised(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The data with one format number raised, for each that it holds: by so much that no version of the store knows it."""
    if data.startswith(SQLITE):
        version = int.from_bytes(data[USER_VERSION], "big")
        if version:
            yield f"user_version {version}", data[: USER_VERSION.start] + (version + 1000).to_bytes(4, "big") + data[USER_VERSION.stop :]
        return
    for found in NUMBER.finditer(data):
        number = int(found[1])
        yield f"number {number} at byte {found.start()}", data[: found.start(1)] + b"%d" % (number + 1000) + data[found.end(1) :]


def _refuses_to_read(trial: Trial, place: Path, name: str, wanted: list[Any], where: str) -> bool:
    """Whether a read of the session is refused; a read that is not must tell what it told before."""
    refused = False
    for number, before in enumerate(wanted):
        try:
            store = trial.open_again(place)
            seen = _tellers(store, name)[number]()
        except FormatVersionError as error:
            found, supported = getattr(error, "found", None), getattr(error, "supported", None)
            holds(found is not None and found != supported, "the format numbers found and supported", (found, supported))
            refused = True
            continue
        same(seen, before, f"{name} as it was, or FormatVersionError, with {where}")
        store.close()
    return refused


def _try_to_write(trial: Trial, place: Path, name: str) -> None:
    """Do to a session what might write over its files; each may be refused."""
    verbs: list[Callable[[Any], Any]] = [
        lambda store: store.add_message(name, "user", "x"),
        lambda store: store.set_title(name, "other"),
        lambda store: store.upsert_partial_assistant_message(name, "another draft"),
        lambda store: store.create_snapshot(name),
        lambda store: store.revert_to_message(name, 0),
        lambda store: store.put_open_turn(name, "turn", []),
        lambda store: store.sweep(),
    ]
    for verb in verbs:
        try:
            store = trial.open_again(place)
            verb(store)
            store.close()
        except SessionError:
            continue
