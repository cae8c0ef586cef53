"""The SQLite backend among others: how it waits, how processes share the file, what a fork leaves, what a full disk does."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.backends.conftest import Driven
from tests.backends.samples import a_head, all_ids, record
from turnlog.backends.sqlite import SqliteBackend
from turnlog.errors import LockTimeoutError

SOURCE = Path(__file__).parents[2] / "src"

WRITER = """
import sys, os, signal, threading
from turnlog.backends.sqlite import SqliteBackend
from turnlog.heads import Head
from turnlog.messages import Record
from turnlog.store.drive import drive

def record(identity):
    return Record(-1, identity, 1.0, '{"role":"user","content":"' + identity + '"}', None)

def append(backend, *identities):
    return drive(backend.append("s", [record(identity) for identity in identities], now=3.0, expect=None))

path = sys.argv[1]
backend = SqliteBackend(path, durability="process", timeout=30)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs ``WRITER`` and then ``script``."""
    command = [sys.executable, "-c", WRITER + script, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def finish(*processes: subprocess.Popen[str]) -> list[str]:
    """What the processes printed; fails with their errors."""
    results = [(*process.communicate(timeout=100), process.returncode) for process in processes]
    for _, err, status in results:
        assert status == 0, err
    return [out for out, _, _ in results]


def start_at_once(script: str, path: Path, count: int) -> list[subprocess.Popen[str]]:
    """Processes that wait until all of them are there; each finds its number in ``sys.argv[2]``."""
    processes = [start("print(flush=True)\nsys.stdin.readline()\n" + script, path, number) for number in range(count)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


class TestWaiting:
    def test_a_writer_that_does_not_end_is_a_timeout(self, sqlite: Driven, path: Path) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for verb in (
            lambda: sqlite.append("s", [record("a")], now=1.0, expect=None),
            lambda: sqlite.put_head(a_head("t", "r2"), expect=None),
            lambda: sqlite.put_head(a_head("t", "r2", length=1), expect=None, records=[record("a")]),
            lambda: sqlite.drop_records("s", "r1", 0, None),
            sqlite.compact,
        ):
            with pytest.raises(LockTimeoutError) as caught:
                verb()
            assert isinstance(caught.value, TimeoutError)
        assert sqlite.get_head("s") == a_head()
        other.execute("ROLLBACK")
        other.close()
        assert sqlite.append("s", [record("a")], now=1.0, expect=None).messages == 1

    def test_a_thread_that_does_not_end_is_a_timeout(self, sqlite: Driven) -> None:
        caught: list[BaseException] = []

        def write() -> None:
            try:
                sqlite.append("s", [record("a")], now=1.0, expect=None)
            except LockTimeoutError as error:
                caught.append(error)

        with sqlite.together("s"):
            thread = threading.Thread(target=write)
            thread.start()
            thread.join()
        assert len(caught) == 1
        assert all_ids(sqlite) == []

    def test_a_reader_that_stays_holds_up_only_compact(self, sqlite: Driven, path: Path) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT * FROM heads").fetchall()
        assert sqlite.append("s", [record("a")], now=1.0, expect=None).messages == 1
        with pytest.raises(LockTimeoutError):
            sqlite.compact()
        other.close()
        sqlite.compact()
        assert all_ids(sqlite) == ["a"]


class TestProcesses:
    def test_sixteen_may_create_the_file_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "sessions.db"
        script = """
name = sys.argv[2]
print(drive(backend.put_head(Head(session_id=name, run=name, born="b"), expect=None)))
drive(backend.close())
"""
        assert finish(*start_at_once(script, path, 16)) == ["True\n"] * 16
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_every_append_of_every_process_is_there(self, sqlite: Driven, path: Path) -> None:
        script = """
writer = sys.argv[2]
for number in range(100):
    assert append(backend, f"{writer}.{number}") is not None
    assert append(backend, *(f"{writer}.{number}.{part}" for part in range(3))) is not None
drive(backend.close())
"""
        finish(*start_at_once(script, path, 4))
        ids = all_ids(sqlite)
        assert len(ids) == len(set(ids)) == 4 * 100 * 4
        assert sqlite.get_head("s") == a_head(counter=800, length=1600, updated_at=3.0)
        for writer in range(4):
            for number in range(100):
                at = ids.index(f"{writer}.{number}.0")
                assert ids[at + 1 : at + 3] == [f"{writer}.{number}.1", f"{writer}.{number}.2"]
            own = [identity for identity in ids if identity.startswith(f"{writer}.") and identity.count(".") == 1]
            assert own == [f"{writer}.{number}" for number in range(100)]


class TestForks:
    """A child that used its parent's connection, or SQLite's memory of the parent's locks, would lose what it wrote."""

    def test_parent_and_child_both_go_on(self, sqlite: Driven, path: Path) -> None:
        script = """
append(backend, "before")
drive(backend.get_head("s"))
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        for number in range(50):
            append(backend, f"child {child}.{number}")
        # The parent has closed its side by now, or will while this goes on: the file must not be taken away from here.
        drive(backend.close())
        os._exit(0)
    children.append(pid)
    append(backend, f"parent {child}")
drive(backend.close())
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
"""
        finish(start(script, path))
        ids = all_ids(sqlite)
        expected = ["before"] + [f"parent {child}" for child in range(4)] + [f"child {c}.{n}" for c in range(4) for n in range(50)]
        assert sorted(ids) == sorted(expected)

    def test_the_file_stays_when_the_parent_leaves_first(self, sqlite: Driven, path: Path) -> None:
        sqlite.close()
        script = """
append(backend, "before")
ready, go_on = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    append(backend, "child 1")
    os.write(ready[1], b"x")
    os.read(go_on[0], 1)
    append(backend, "child 2")
    os._exit(0)
os.read(ready[0], 1)
drive(backend.close())
assert os.path.exists(path + "-wal")
os.write(go_on[1], b"x")
assert os.waitpid(pid, 0)[1] == 0
"""
        finish(start(script, path))
        again = Driven(SqliteBackend(path))
        assert all_ids(again) == ["before", "child 1", "child 2"]
        again.close()

    def test_other_threads_may_be_at_work(self, sqlite: Driven, path: Path) -> None:
        script = """
stop = threading.Event()
written = []

def work(name):
    number = 0
    while not stop.is_set():
        append(backend, f"{name}.{number}")
        drive(backend.get_head("s"))
        written.append(f"{name}.{number}")
        number += 1

threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
for thread in threads:
    thread.start()
for child in range(10):
    pid = os.fork()
    if pid == 0:
        append(backend, f"child {child}")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    written.append(f"child {child}")
stop.set()
for thread in threads:
    thread.join()
print(len(written))
drive(backend.close())
"""
        (printed,) = finish(start(script, path))
        ids = all_ids(sqlite)
        assert len(ids) == len(set(ids)) == int(printed)
        assert {f"child {child}" for child in range(10)} <= set(ids)

    def test_a_child_of_a_running_transaction_says_so(self, sqlite: Driven, path: Path) -> None:
        script = """
from turnlog.errors import StorageError
scope = backend.together("s")
drive(scope.__aenter__())
append(backend, "in the scope")
pid = os.fork()
if pid == 0:
    for verb in (lambda: append(backend, "child"), lambda: drive(backend.get_head("s"))):
        try:
            verb()
        except StorageError as error:
            assert "forked" in str(error)
        else:
            os._exit(1)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
drive(scope.__aexit__(None, None, None))
append(backend, "after")
drive(backend.close())
"""
        finish(start(script, path))
        assert all_ids(sqlite) == ["in the scope", "after"]


def test_a_full_disk_loses_nothing_acknowledged(path: Path) -> None:
    script = """
import resource
from turnlog.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
drive(backend.put_head(Head(session_id="s", run="r1", born="b"), expect=None))
resource.setrlimit(resource.RLIMIT_FSIZE, (900_000, resource.RLIM_INFINITY))
stored = 0
try:
    while True:
        append(backend, f"a{stored}" + "x" * 5000, f"b{stored}")
        stored += 1
except StorageError as error:
    assert isinstance(error, OSError)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
append(backend, "after")
print(stored)
drive(backend.close())
"""
    (printed,) = finish(start(script, path))
    again = Driven(SqliteBackend(path))
    ids = all_ids(again)
    assert int(printed) > 5
    assert len(ids) == 2 * int(printed) + 1
    assert ids[-1] == "after"
    assert again.get_head("s").length == len(ids)
    again.close()
