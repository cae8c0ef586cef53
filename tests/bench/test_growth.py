"""Cost does not grow with length: bytes, system calls and SQLite's own steps are counted in a short and in a long session."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from turnlog.session import DefaultSessionStore, SqliteSessionStore

SHORT = 10
LONG = 20_000
LAST = 50
TIMES = 20
TEXT = "The driver asked twice whether the side door would be open today. " * 3


@dataclass(frozen=True, slots=True)
class Traffic:
    """What this thread has asked of the file system."""

    read: int
    """Bytes."""
    written: int
    reads: int
    """System calls."""
    writes: int

    @classmethod
    def now(cls) -> Traffic:
        pairs = dict(line.split(": ") for line in Path("/proc/thread-self/io").read_text(encoding="ascii").splitlines())
        return cls(int(pairs["rchar"]), int(pairs["wchar"]), int(pairs["syscr"]), int(pairs["syscw"]))

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.read - other.read, self.written - other.written, self.reads - other.reads, self.writes - other.writes)


def traffic(operation: Callable[[], object]) -> Traffic:
    """What ``TIMES`` operations ask of the file system, once everything is open."""
    operation()
    idle = Traffic.now()
    begin = Traffic.now()
    own = begin - idle
    for _ in range(TIMES):
        operation()
    return Traffic.now() - begin - own


def fill(store: Any, session_id: str, count: int) -> None:
    """``count`` messages: whole turns, then the last ones singly, as agents write them."""
    singly = min(count, 200)
    for start in range(0, count - singly, 1_000):
        size = min(1_000, count - singly - start)
        store.add_messages(session_id, [{"role": "user", "content": TEXT} for _ in range(size)])
    for _ in range(singly):
        store.add_message(session_id, "user", TEXT)


@pytest.fixture
def files(tmp_path: Path) -> DefaultSessionStore:
    return DefaultSessionStore(tmp_path / "files", durability="process")


def test_an_append_to_a_file_moves_the_same_bytes_at_any_length(files: DefaultSessionStore) -> None:
    counted = {}
    for length in (SHORT, LONG):
        fill(files, str(length), length)
        counted[length] = traffic(lambda length=length: files.add_message(str(length), "user", TEXT))  # type: ignore[misc]
    short, long = counted[SHORT], counted[LONG]
    # The count in the closing tail has a few digits more.
    assert abs(long.written - short.written) <= 16 * TIMES
    assert abs(long.read - short.read) <= 16 * TIMES
    assert (long.writes, long.reads) == (short.writes, short.reads)


def test_an_append_to_a_file_writes_little_more_than_the_message(files: DefaultSessionStore) -> None:
    fill(files, "long", LONG)
    assert traffic(lambda: files.add_message("long", "user", TEXT)).written < TIMES * (len(TEXT) + 1_000)


@pytest.mark.parametrize("opened", ["before", "each time"])
def test_the_end_of_a_file_is_read_in_the_same_bytes_at_any_length(files: DefaultSessionStore, tmp_path: Path, opened: str) -> None:
    def read(length: int) -> None:
        store = files if opened == "before" else DefaultSessionStore(tmp_path / "files", durability="process")
        assert len(store.get_chat_history(str(length), LAST)) == LAST
        if store is not files:
            store.close()

    counted = {}
    for length in (4 * LAST, LONG):
        fill(files, str(length), length)
        counted[length] = traffic(lambda length=length: read(length))  # type: ignore[misc]
    short, long = counted[4 * LAST], counted[LONG]
    assert long.read <= short.read * 1.5 + 4096 * TIMES
    assert long.reads <= short.reads + 2 * TIMES
    assert long.written <= short.written


class Steps:
    """Counts the instructions of SQLite's virtual machine on all connections."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        connect = sqlite3.connect

        def counted(*arguments: Any, **named: Any) -> sqlite3.Connection:
            db: sqlite3.Connection = connect(*arguments, **named)
            db.set_progress_handler(self._step, 1)
            return db

        monkeypatch.setattr(sqlite3, "connect", counted)

    def _step(self) -> int:
        self.count += 1
        return 0

    def of(self, operation: Callable[[], object]) -> int:
        """The steps of ``TIMES`` operations, once everything is open."""
        operation()
        before = self.count
        for _ in range(TIMES):
            operation()
        return self.count - before


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


@pytest.fixture
def rows(tmp_path: Path, steps: Steps) -> SqliteSessionStore:
    return SqliteSessionStore(tmp_path / "one.sqlite", durability="process")


def test_the_steps_of_sqlite_are_seen(rows: SqliteSessionStore, steps: Steps) -> None:
    fill(rows, "one", 300)
    assert steps.of(lambda: rows.get_chat_history("one", 200)) > 2 * steps.of(lambda: rows.get_chat_history("one", LAST))


VERBS: dict[str, Callable[[SqliteSessionStore, str], object]] = {
    "append": lambda store, session_id: store.add_message(session_id, "user", TEXT),
    "last messages": lambda store, session_id: store.get_chat_history(session_id, LAST),
    "fork": lambda store, session_id: store.fork_session(session_id, SHORT),
    "snapshot": lambda store, session_id: store.create_snapshot(session_id),
    "revert": lambda store, session_id: (store.revert_to_message(session_id, SHORT), store.undo_revert(session_id)),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_takes_sqlite_the_same_steps_at_any_length(rows: SqliteSessionStore, steps: Steps, verb: str) -> None:
    counted = {}
    for length in (2 * LAST, LONG):
        fill(rows, str(length), length)
        counted[length] = steps.of(lambda length=length: VERBS[verb](rows, str(length)))  # type: ignore[misc]
    assert counted[LONG] == counted[2 * LAST]


@pytest.mark.parametrize("verb", ["append", "last messages"])
def test_forks_snapshots_and_reverts_add_no_steps(rows: SqliteSessionStore, steps: Steps, verb: str) -> None:
    for session_id in ("calm", "busy"):
        fill(rows, session_id, 2 * LAST)
    for _ in range(300):
        rows.fork_session("busy", SHORT)
        rows.create_snapshot("busy")
        rows.add_message("busy", "assistant", TEXT)
        rows.revert_to_message("busy", 2 * LAST - 1)
    counted = {name: steps.of(lambda name=name: VERBS[verb](rows, name)) for name in ("calm", "busy")}  # type: ignore[misc]
    # A read may meet one seam, where the last revert cut.
    assert counted["busy"] <= counted["calm"] + (100 * TIMES if verb == "last messages" else 0)


def test_a_page_of_sessions_takes_the_same_steps_among_few_and_many(tmp_path: Path, steps: Steps) -> None:
    counted = []
    for number in (200, 2_000):
        with SqliteSessionStore(tmp_path / f"{number}.sqlite", durability="process") as store:
            for each in range(number):
                store.create_session(f"session-{each}", agent_name=f"agent-{each % 2}")
            counted.append(steps.of(lambda store=store: list(islice(store.iter_sessions(agent_name="agent-1"), LAST))))  # type: ignore[misc]
    assert counted[0] == counted[1]


def test_an_append_writes_the_same_pages_at_any_length(rows: SqliteSessionStore) -> None:
    counted = {}
    for length in (SHORT, LONG):
        fill(rows, str(length), length)
        counted[length] = traffic(lambda length=length: rows.add_message(str(length), "user", TEXT))  # type: ignore[misc]
    # Pages fill up and split, so the number wavers.
    assert counted[LONG].written <= 1.5 * counted[SHORT].written
