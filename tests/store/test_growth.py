"""Ten thousand snapshots, reverts and undo points, thousands of forks deep and wide: heads stay small, and no verb takes more steps."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.store.counting import Counting
from turnlog import tree
from turnlog.backends.head_json import encode_head
from turnlog.errors import NothingToUndoError
from turnlog.store.drive import drive
from turnlog.store.sync import SessionStore

MANY = 10_000
DEEP = 2_000
HEAD_BYTES = 6_000
"""A full head: 64 stretches of some 40 characters each, and the rest."""
ROW_BYTES = 80_000
"""A full path row: two pages of stretches."""


@pytest.fixture
def backend() -> Counting:
    return Counting()


@pytest.fixture
def store(backend: Counting) -> SessionStore:
    return SessionStore(backend)


def texts(store: SessionStore, session: str, start: int = 0, stop: int | None = None) -> list[str]:
    return [message.content for message in store.get_messages(session, start, stop)]


def add(store: SessionStore, session: str, names: Iterable[object]) -> None:
    store.add_messages(session, [{"role": "user", "content": str(name)} for name in names])


def head_bytes(backend: Counting, session: str) -> int:
    head = drive(backend.get_head(session))
    assert head is not None
    return len(encode_head(head))


def check_small_steps(store: SessionStore, backend: Counting, session: str) -> None:
    """What every agent does all the time costs what it costs on the first day."""
    assert backend.took(lambda: store.add_message(session, "user", "more")) == ["append"]
    for size in (1, 50, tree.PAGE):
        calls = backend.took(lambda size=size: store.get_chat_history(session, size))  # type: ignore[misc]
        assert calls[0] == "get_head"
        assert len(calls) <= 3, calls
        assert set(calls[1:]) <= {"get_rows", "read"}, calls
    assert backend.took(lambda: store.create_snapshot(session)) == ["get_head", "put_row"]
    assert head_bytes(backend, session) < HEAD_BYTES


def test_snapshots_cost_nothing(store: SessionStore, backend: Counting) -> None:
    add(store, "s", range(10))
    before = head_bytes(backend, "s")
    keys = [store.create_snapshot("s", label=str(number)) for number in range(MANY)]
    assert head_bytes(backend, "s") == before
    check_small_steps(store, backend, "s")
    assert [snapshot.id for snapshot in store.get_snapshots("s")][:MANY] == keys
    assert store.revert_to_snapshot("s", keys[MANY // 2])
    assert texts(store, "s") == [str(number) for number in range(10)]


def test_reverts_that_leave_a_stretch_each(store: SessionStore, backend: Counting) -> None:
    for number in range(MANY):
        add(store, "s", [number, "gone"])
        store.revert_to_message("s", number)
    expected = [str(number) for number in range(MANY)]
    check_small_steps(store, backend, "s")
    store.revert_to_message("s", MANY - 1)
    assert texts(store, "s") == expected
    for start, stop in ((0, 3), (1234, 1301), (MANY - 600, MANY), (MANY - 1500, MANY - 1400)):
        assert texts(store, "s", start, stop) == expected[start:stop]
    paths = [body for rows in backend._rows.values() for body in rows["path"].values()]
    assert max(map(len, paths)) < ROW_BYTES
    assert len(paths) < 2 * MANY / (tree.MAX_PAST - tree.KEEP_PAST)
    child = store.fork_session("s", MANY // 2)
    assert texts(store, child) == expected[: MANY // 2 + 1]
    store.delete_session("s")
    assert texts(store, child) == expected[: MANY // 2 + 1]
    store.delete_session(child)
    assert backend.left() == {}


def test_reverts_are_undone_one_by_one(store: SessionStore, backend: Counting) -> None:
    add(store, "s", range(MANY))
    for last in range(MANY - 2, -1, -1):
        store.revert_to_message("s", last)
    calls = backend.took(lambda: store.undo_revert("s"))
    for size in range(3, 500):
        assert backend.took(lambda: store.undo_revert("s")) == calls
        assert texts(store, "s") == [str(number) for number in range(size)]
    check_small_steps(store, backend, "s")
    store.revert_to_message("s", 10)
    for _ in range(3):
        # What was added after a revert is not lost by undoing it: the two lines take turns.
        store.undo_revert("s")
        assert texts(store, "s", 499) == ["more"]
        store.undo_revert("s")
        assert texts(store, "s", 499) == [str(number) for number in range(499, 500)]


def test_a_chain_of_forks(store: SessionStore, backend: Counting) -> None:
    add(store, "c0", ["0"])
    for number in range(1, DEEP):
        store.fork_session(f"c{number - 1}", new_session_id=f"c{number}")
        add(store, f"c{number}", [number])
    leaf, expected = f"c{DEEP - 1}", [str(number) for number in range(DEEP)]
    check_small_steps(store, backend, leaf)
    store.revert_to_message(leaf, DEEP - 1)
    assert texts(store, leaf) == expected
    assert store.get_ancestors(leaf) == [f"c{number}" for number in range(DEEP - 2, -1, -1)]
    middle = store.fork_session(leaf, DEEP // 2)
    assert store.diff(middle, leaf).common == DEEP // 2 + 1
    for number in range(DEEP - 1):
        store.delete_session(f"c{number}")
    assert texts(store, leaf) == expected
    assert texts(store, middle) == expected[: DEEP // 2 + 1]
    store.delete_session(leaf)
    assert texts(store, middle) == expected[: DEEP // 2 + 1]
    store.delete_session(middle)
    assert backend.left() == {}


def test_many_forks_of_one(store: SessionStore, backend: Counting) -> None:
    add(store, "p", range(5))
    before, first = head_bytes(backend, "p"), [*backend.took(lambda: store.fork_session("p", 2, new_session_id="first"))]
    store.delete_session("first")
    steps = backend.took(lambda: store.fork_session("p", 2, new_session_id="c0"))
    assert first == ["get_head", *steps], "the store remembers the head that it has read"
    for number in range(1, DEEP):
        assert backend.took(lambda number=number: store.fork_session("p", 2, new_session_id=f"c{number}")) == steps  # type: ignore[misc]
    assert head_bytes(backend, "p") == before
    check_small_steps(store, backend, "p")
    assert sorted(store.get_children("p")) == sorted(f"c{number}" for number in range(DEEP))
    store.delete_session("p")
    assert texts(store, f"c{DEEP // 2}") == ["0", "1", "2"]
    assert store.get_parent("c0") is None
    for number in range(DEEP):
        store.delete_session(f"c{number}")
    assert backend.left() == {}


def test_nothing_is_left_to_undo_in_a_new_session(store: SessionStore) -> None:
    add(store, "s", range(3))
    with pytest.raises(NothingToUndoError):
        store.undo_revert("s")
