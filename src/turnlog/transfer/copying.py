"""copy_store: every session of a store into another, whole, as forks of their copied parents, compared by digest, resumed after a crash."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import IO

from turnlog.backends.json_file import JsonFileBackend
from turnlog.errors import ConflictError, InvalidMessageError, StorageError, UnsupportedVerbError
from turnlog.session import SessionInfo, SessionStore
from turnlog.transfer.carried import Carried, begins_with, digest
from turnlog.transfer.carrying import Carrier
from turnlog.transfer.doctor_json import unreadable
from turnlog.transfer.report import CopyMismatchError, OnProgress, Progress, Skip, Tally, TransferReport, tell_nobody

OTHER = "the target holds another session of this id, which is no earlier state of this one: rename or delete it there"


def copy_store(
    source: SessionStore,
    target: SessionStore,
    *,
    session_ids: Iterable[str] | None = None,
    state_path: str | os.PathLike[str] | None = None,
    progress: OnProgress | None = None,
) -> TransferReport:
    """Copy sessions (None: all) with messages, ids, times, fields, snapshots and lineage; oldest first, parents before their forks.

    Each is read back and compared by digest. Run it again after a crash, or later: a session that is there and equal is counted as such,
    one that is an earlier state of the source's (its beginning) is replaced, any other is left alone and a Skip. ``state_path``: a
    file that notes what was done, so that running again need not read what has not changed since. Memory holds one session and
    its parent. Drafts and undo points are not copied. Raises CopyMismatchError, StorageError; what came before is copied.
    """
    if source.backend is target.backend:
        raise UnsupportedVerbError("the source and the target are the same store: open two", verb="copy_store", reason="one store")
    wanted = None if session_ids is None else list(dict.fromkeys(session_ids))
    tally = Tally()
    tell = progress or tell_nobody
    lines = _lines(source, wanted)
    for name in wanted or ():
        if name not in lines:
            tally.skipped.append(Skip(name, "there is no such session"))
    with _State(state_path) as state:
        copying = _Copying(source, target, state, tally, set(lines))
        for number, info in enumerate(_parents_first(lines), 1):
            copying.copy(info)
            tell(Progress(number, len(lines), "sessions", info.session_id))
    if wanted is None and isinstance(source.backend, JsonFileBackend):
        tally.skipped += [Skip(name, reason) for name, reason in unreadable(source.backend.root)]
    return tally.report()


def _lines(source: SessionStore, wanted: list[str] | None) -> dict[str, SessionInfo]:
    """What is to be copied, by id."""
    chosen = set(wanted) if wanted is not None else None
    return {info.session_id: info for info in source.iter_sessions(page_size=200) if chosen is None or info.session_id in chosen}


def _parents_first(lines: dict[str, SessionInfo]) -> list[SessionInfo]:
    """All lines, last changed last, but each after the one it is a fork of."""
    order: dict[str, SessionInfo] = {}
    for info in sorted(lines.values(), key=lambda info: (info.updated_at, info.session_id)):
        way: dict[str, SessionInfo] = {}
        at: SessionInfo | None = info
        while at is not None and at.session_id not in order and at.session_id not in way:
            way[at.session_id] = at
            at = lines.get(at.parent_id) if at.parent_id is not None else None
        order.update({name: way[name] for name in reversed(way)})
    return list(order.values())


class _Copying:
    """One run of a copy."""

    def __init__(self, source: SessionStore, target: SessionStore, state: _State, tally: Tally, chosen: set[str]) -> None:
        self._source, self._target, self._state, self._tally = source, target, state, tally
        self._chosen, self._done = chosen, set[str]()
        self._taker, self._putter = Carrier(source), Carrier(target)

    def copy(self, info: SessionInfo) -> None:
        name = info.session_id
        if self._state.holds(name, self._mark(name)):
            self._tally.already_there += 1
            self._done.add(name)
            return
        try:
            session = self._taker.take(name)
            if session is None:
                self._tally.skipped.append(Skip(name, "the session was deleted while the store was copied"))
                return
            self._put(self._linked(session))
        except (ConflictError, InvalidMessageError) as refusal:
            self._tally.skipped.append(Skip(name, str(refusal)))
        else:
            self._done.add(name)
            self._state.note(name, self._mark(name))

    def _linked(self, session: Carried) -> Carried:
        """The session as a fork of its parent's copy, where that is there."""
        if session.origin is None or not session.origin.alive:
            return session
        parent = session.origin.session_id
        alive = parent in self._done or (parent not in self._chosen and self._begins_alike(parent))
        return replace(session, origin=session.origin._replace(alive=alive))

    def _begins_alike(self, name: str) -> bool:
        """Whether a session that is not copied now was copied before, as far as its first message tells."""
        first = [[message.id for message in store.get_messages(name, 0, 1)] for store in (self._source, self._target)]
        return first[0] == first[1] and self._target.session_exists(name)

    def _put(self, session: Carried) -> None:
        name = session.session_id
        there = self._putter.take(name)
        expected = digest(session)
        if there is not None and digest(there) == expected:
            self._tally.already_there += 1
            return
        if there is not None and not _is_earlier(there, session):
            raise ConflictError(OTHER, session_id=name)
        self._putter.put(session, over=there is not None)
        copied = self._putter.take(name)
        if copied is None or digest(copied) != expected:
            text = f"session {name!r} does not come back from the target as it was written: copy it again, and check the target"
            raise CopyMismatchError(text, session_id=name)
        self._tally.sessions += 1
        self._tally.messages += len(session.records)

    def _mark(self, name: str) -> str:
        """What tells this state of a session, in both stores, from any other; reads heads and snapshots, no messages."""
        seen = [
            [store.get_revision(name), [[one.id, one.label, one.metadata] for one in store.get_snapshots(name)]]
            for store in (self._source, self._target)
        ]
        return hashlib.sha256(json.dumps(seen).encode()).hexdigest() if seen[1][0] else ""


def _is_earlier(there: Carried, session: Carried) -> bool:
    """Whether what the target holds is a beginning of the session: its first messages, some of its snapshots."""
    if not begins_with(session.records, there.records):
        return False
    snapshots = {snapshot.id for snapshot in session.snapshots}
    return all(snapshot.id in snapshots for snapshot in there.snapshots)


class _State:
    """The file that notes what has been copied: one line a session. A line that a crash cut short counts for nothing."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = os.fspath(path) if path is not None else None
        self._marks: dict[str, str] = {}
        self._file: IO[str] | None = None

    def __enter__(self) -> _State:
        if self._path is None:
            return self
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._file = open(fd, "r+", encoding="utf-8", errors="replace")  # closed in __exit__
            for line in self._file:
                with suppress(ValueError, TypeError):
                    name, mark = json.loads(line)
                    self._marks[name] = mark
            # A line cut short must not swallow the next.
            self._file.write("\n")
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror}", path=self._path) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def holds(self, name: str, mark: str) -> bool:
        """Whether the session was copied and neither it nor its copy has changed since."""
        return mark != "" and self._marks.get(name) == mark

    def note(self, name: str, mark: str) -> None:
        """Note that the session is copied."""
        if self._file is not None:
            self._file.write(json.dumps([name, mark]) + "\n")
            self._file.flush()
