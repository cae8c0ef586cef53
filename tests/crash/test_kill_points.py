"""A JSON writer that dies before each of its system calls, one after another: the session is as it was before, or as it should be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.json_files import beside, directory, document
from tests.backends.samples import a_head, all_ids, record, records
from turnlog.heads import Stretch

CALLS = ("open", "pwrite", "ftruncate", "rename", "unlink", "fsync", "fdatasync")
DIED = 77


def dies_before(call: int, work: Callable[[], object]) -> bool:
    """Run ``work`` in a forked child that ends before its system call number ``call``; whether it came that far."""
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in (0, DIED), f"the writer ended with {status}"
        return status == DIED
    done = 0

    def counted(real: Any) -> Any:
        def call_it(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            if done == call:
                os._exit(DIED)
            done += 1
            return real(*arguments, **options)

        return call_it

    status = 1
    try:
        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        work()
        status = 0
    finally:
        os._exit(status)


def change(backend: Driven, **values: Any) -> None:
    head = backend.get_head("s")
    assert backend.put_head(replace(head, counter=head.counter + 1, **values), expect=head.revision)


WORK: dict[str, Callable[[Driven], object]] = {
    "append": lambda backend: backend.append("s", [record("a"), record("b")], now=3.0, expect=None),
    "fields": lambda backend: change(backend, fields={"title": "T"}),
    "revert": lambda backend: change(backend, past=(Stretch("r1", 0, 2),), past_count=2, tail=backend.get_head("s").length),
    "row": lambda backend: backend.put_row("s", "r1", "snapshot", "k", "1"),
    "draft": lambda backend: backend.put_row("s", "r1", "draft", "d", "1"),
    "new run": lambda backend: backend.put_head(
        a_head(run="r2", length=1), expect=backend.get_head("s").revision, records=[record("fresh")]
    ),
    "removal": lambda backend: backend.remove_head("s", "r1"),
}


def state(backend: Driven) -> str:
    """Everything of the session that a verb shows."""
    head = backend.get_head("s")
    if head is None:
        return "none"
    rows = {kind: backend.get_rows("s", head.run, kind) for kind in ("snapshot", "draft")}
    values = (head.run, head.past, head.tail, head.length, dict(head.fields), rows, all_ids(backend, run=head.run))
    return json.dumps(values, default=str)


@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize("size", ["short", "long"])
@pytest.mark.parametrize("work", WORK)
def test_dying_anywhere_leaves_the_old_or_the_new(tmp_path: Path, work: str, size: str, durability: str) -> None:
    seen: set[str] = set()
    came_so_far, call = True, 0
    while came_so_far:
        root = tmp_path / str(call)
        backend, watching = directory(root, durability=durability), directory(root)
        backend.put_head(a_head(), expect=None)
        first = [record(f"m{number}", "x" * (3000 if size == "long" else 3)) for number in range(30)]
        backend.append("s", first, now=2.0, expect=None)
        before = state(watching)
        came_so_far = dies_before(call, lambda backend=backend: WORK[work](backend))  # type: ignore[misc]
        backend.close()
        fresh = directory(root)
        after = state(fresh)
        seen.add(after)
        assert state(watching) == after
        assert not [name for name in beside(root / "s.json") if name.endswith(".tmp")]
        if after != "none":
            shown = document(root / "s.json")
            assert shown["message_count"] == len(shown["messages"])
            assert watching.append("s", [record("later")], now=4.0, expect=None) is not None
            assert fresh.append("s", [record("latest")], now=4.0, expect=None) is not None
            assert all_ids(fresh, run=fresh.get_head("s").run)[-2:] == ["later", "latest"]
        for each in (fresh, watching):
            each.close()
        call += 1
    assert call > 1
    assert after != before
    assert seen <= {before, after}


@pytest.mark.parametrize("durability", ["process", "power"])
def test_dying_while_mending_leaves_what_can_be_mended(tmp_path: Path, durability: str) -> None:
    call = 0
    while True:
        root = tmp_path / str(call)
        backend = directory(root, durability=durability)
        backend.put_head(a_head(length=2), expect=None, records=records(0, 2))
        backend.append("s", records(2, 4), now=2.0, expect=None)
        backend.close()
        data = (root / "s.json").read_bytes()
        (root / "s.json").write_bytes(data[: data.rindex(b'"m3"') + 3])
        came_so_far = dies_before(call, lambda root=root: directory(root, durability=durability).get_head("s"))  # type: ignore[misc]
        again = directory(root)
        assert all_ids(again) == ["m0", "m1"]
        again.close()
        assert any(b'"m2"' in (root / name).read_bytes() for name in beside(root / "s.json"))
        if not came_so_far:
            break
        call += 1
    assert call >= 3


@pytest.mark.parametrize("durability", ["process", "power"])
def test_dying_while_a_session_begins(tmp_path: Path, durability: str) -> None:
    call = 0
    while True:
        root = tmp_path / str(call) / "new" / "sessions"
        head = a_head(length=3)
        came_so_far = dies_before(
            call,
            lambda root=root, head=head: directory(root, durability=durability).put_head(  # type: ignore[misc]
                head, expect=None, records=records(0, 3)
            ),
        )
        again = directory(root)
        there = all_ids(again)
        assert there in ([], ["m0", "m1", "m2"])
        assert again.put_head(head, expect=None, records=records(0, 3)) is (there == [])
        assert all_ids(again) == ["m0", "m1", "m2"]
        assert beside(root / "s.json") == []
        again.close()
        if not came_so_far:
            break
        call += 1
    assert call >= 3
