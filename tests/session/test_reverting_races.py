"""Reverts and deletes that compare with what was read: who comes late is refused and changes nothing, in one process and in many."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.session.conftest import Opened, say, texts
from turnlog.errors import ConflictError, MessageIndexError, SessionNotFoundError, SnapshotNotFoundError
from turnlog.session import AsyncInMemorySessionStore, SessionStore, open_store

PROGRAM = """
import json, sys
from turnlog.errors import ConflictError
from turnlog.session import open_store

url, role, end = sys.argv[1:]
store = open_store(url)
print("ready", flush=True)
sys.stdin.readline()
told = []
if role == "append":
    for number in range(60):
        store.add_message("s", "user", f"{end} {number}")
        told.append(f"{end} {number}")
else:
    for _ in range(60):
        found = store.get_session("s")
        seen = [message.content for message in found.messages]
        try:
            if role == "delete":
                store.delete_session("s", expect_revision=found.revision)
                told += seen
            elif len(seen) > 1:
                store.revert_to_message("s", 0, expect_revision=found.revision)
                told += seen[1:]
        except ConflictError:
            pass
print(json.dumps(told))
"""
"""Appends, and tells what; or takes away what it has read, and tells what that was."""


def run_together(url: str, *roles: tuple[str, str]) -> list[list[str]]:
    """What each role, a process of its own, tells; all begin at once."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    running = [subprocess.Popen([sys.executable, "-c", PROGRAM, url, *role], env=environment, text=True, **pipes) for role in roles]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=100) for process in running]
    assert [process.returncode for process in running] == [0] * len(running), [err for _, err in ended]
    return [json.loads(out) for out, _ in ended]


@pytest.mark.parametrize("scheme", ["json", "sqlite"])
@pytest.mark.parametrize("role", ["delete", "revert"])
def test_processes_lose_nothing_that_was_not_seen_to_go(scheme: str, role: str, tmp_path: Path) -> None:
    url = f"{scheme}://{tmp_path / 'place'}?durability=process"
    roles = [("append", "a"), ("append", "b"), (role, ""), (role, "")]
    one, other, *gone = run_together(url, *roles)
    with open_store(url) as store:
        left = [message.content for message in store.get_messages("s")]
    assert sorted([*left, *gone[0], *gone[1]]) == sorted([*one, *other])


Taking = Callable[[SessionStore, str, str], bool]
WAYS: dict[str, Taking] = {
    "revert_to_message": lambda store, snapshot, seen: store.revert_to_message("s", 0, expect_revision=seen),
    "revert_to_snapshot": lambda store, snapshot, seen: store.revert_to_snapshot("s", snapshot, expect_revision=seen),
    "delete_session": lambda store, snapshot, seen: store.delete_session("s", expect_revision=seen),
}
CHANGES: dict[str, Callable[[SessionStore], Any]] = {
    "add_message": lambda store: store.add_message("s", "user", "new"),
    "set_title": lambda store: store.set_title("s", "new"),
    "revert_to_message": lambda store: store.revert_to_message("s", 2),
    "clear_session": lambda store: store.clear_session("s"),
    "delete and make anew": lambda store: store.delete_session("s") and store.add_messages("s", say("a", "b", "c", "d")),
}


class TestComparing:
    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("way", WAYS)
    def test_who_comes_late_changes_nothing(self, store: SessionStore, way: str, change: str) -> None:
        store.add_messages("s", say("a", "b", "c", "d"))
        snapshot, seen = store.create_snapshot("s"), store.get_revision("s")
        CHANGES[change](store)
        before = store.get_session("s")
        with pytest.raises(ConflictError, match="read it again") as refused:
            WAYS[way](store, snapshot, seen)
        assert (refused.value.expected, refused.value.actual) == (seen, before.revision)  # type: ignore[attr-defined]
        assert store.get_session("s") == before

    @pytest.mark.parametrize("way", WAYS)
    def test_who_has_seen_the_newest_wins_once(self, store: SessionStore, way: str) -> None:
        store.add_messages("s", say("a", "b"))
        snapshot = store.create_snapshot("s")
        store.add_messages("s", say("c", "d"))
        seen = store.get_revision("s")
        assert WAYS[way](store, snapshot, seen) is True
        assert store.get_revision("s") != seen
        with pytest.raises((ConflictError, SessionNotFoundError)):
            WAYS[way](store, snapshot, seen)

    def test_snapshots_and_open_turns_are_no_change(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        seen = store.get_revision("s")
        store.create_snapshot("s")
        store.put_open_turn("s", "t", say("x"))
        assert store.revert_to_message("s", 0, expect_revision=seen)
        assert store.delete_session("s", expect_revision=store.get_revision("s"))
        assert store.get_open_turns("s") == []

    def test_a_lost_revert_leaves_no_undo_point(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        store.revert_to_message("s", 0)
        with pytest.raises(ConflictError):
            store.revert_to_message("s", 0, expect_revision="no such revision")
        store.undo_revert("s")
        assert texts(store, "s") == ["a", "b"]

    def test_a_session_that_is_not_there(self, store: SessionStore) -> None:
        assert store.delete_session("none", expect_revision="") is True
        with pytest.raises(ConflictError):
            store.delete_session("none", expect_revision="r.1")
        with pytest.raises(SessionNotFoundError):
            store.revert_to_message("none", 0, expect_revision="")

    def test_a_fork_keeps_what_a_compared_delete_takes(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        child = store.fork_session("s")
        assert store.delete_session("s", expect_revision=store.get_revision("s"))
        assert texts(store, child) == ["a", "b"]

    def test_a_bad_index_is_told_before_anything_changes(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        before = store.get_session("s")
        with pytest.raises(MessageIndexError):
            store.revert_to_message("s", 7, expect_revision=before.revision)
        assert store.get_session("s") == before


def test_tasks_of_a_loop_decide_between_them() -> None:
    async def run() -> None:
        async with AsyncInMemorySessionStore() as store:
            await store.add_messages("s", say("a", "b", "c"))
            seen = await store.get_revision("s")
            tasks = [store.revert_to_message("s", index % 2, expect_revision=seen) for index in range(8)]
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(outcome is True for outcome in ended) == 1
            assert sum(isinstance(outcome, ConflictError) for outcome in ended) == 7

    asyncio.run(run())


class TestSnapshotMessages:
    def test_the_history_as_it_was(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b", "c"))
        snapshot = store.create_snapshot("s")
        store.revert_to_message("s", 0)
        store.add_messages("s", say("x", "y"))
        then = store.get_snapshot_messages("s", snapshot)
        assert [message.content for message in then] == ["a", "b", "c"]
        assert then[0] == store.get_messages("s")[0]
        assert texts(store, "s") == ["a", "x", "y"]

    @pytest.mark.parametrize(("start", "stop"), [(0, None), (1, None), (-2, None), (0, -1), (1, 2), (2, 1), (5, 9), (-9, 1)])
    def test_indexes_are_those_of_a_slice(self, store: SessionStore, start: int, stop: int | None) -> None:
        store.add_messages("s", say("a", "b", "c"))
        snapshot = store.create_snapshot("s")
        store.clear_session("other")
        store.add_message("s", "user", "later")
        found = [message.content for message in store.get_snapshot_messages("s", snapshot, start, stop)]
        assert found == ["a", "b", "c"][start:stop]

    def test_an_empty_one(self, store: SessionStore) -> None:
        store.create_session("s")
        snapshot = store.create_snapshot("s")
        store.add_message("s", "user", "later")
        assert store.get_snapshot_messages("s", snapshot) == []

    def test_after_a_cut_they_begin_where_the_history_begins(self, opened: Opened) -> None:
        store = opened(4)
        for number in range(4):
            store.add_message("s", "user", f"{number}")
        snapshot = store.create_snapshot("s")
        for number in range(4, 6):
            store.add_message("s", "user", f"{number}")
        assert texts(store, "s") == ["2", "3", "4", "5"]
        assert [message.content for message in store.get_snapshot_messages("s", snapshot)] == ["2", "3"]

    def test_what_is_not_there(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            store.get_snapshot_messages("s", "none")
        store.add_message("s", "user", "a")
        with pytest.raises(SnapshotNotFoundError):
            store.get_snapshot_messages("s", "none")
        snapshot = store.create_snapshot("s")
        store.clear_session("s")
        with pytest.raises(SnapshotNotFoundError):
            store.get_snapshot_messages("s", snapshot)
