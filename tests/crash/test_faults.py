"""Disks that are full and disks that fail, and processes that fork: what was acknowledged is there, and the store goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.backends.json_files import beside, directory, document, finish, start
from tests.backends.samples import all_ids

FILL = """
from turnlog.errors import StorageError
drive(backend.put_head(Head(session_id="s", run="r1", born="b"), expect=None))
LIMIT
stored = refused = 0
while refused < 3:
    try:
        append(backend, f"a{stored}", f"b{stored}", content="x" * 5000)
        stored += 1
    except StorageError as error:
        assert isinstance(error, OSError) and error.errno
        refused += 1
        head = drive(backend.get_head("s"))
        try:
            drive(backend.put_row("s", "r1", "snapshot", "k", "x" * 5000))
        except StorageError:
            refused += 1
        assert drive(backend.get_head("s")).length == head.length == 2 * stored
ROOM
append(backend, "after")
print(stored)
drive(backend.close())
"""


def judge_full(root: Path, printed: str) -> None:
    """All that was acknowledged, and nothing else, in a document that any program can parse; no temporary file."""
    backend = directory(root)
    ids = all_ids(backend)
    expected = [f"{side}{number}" for number in range(int(printed)) for side in "ab"]
    assert int(printed) > 5
    assert ids == [*expected, "after"]
    assert len(document(root / "s.json")["messages"]) == len(ids)
    assert beside(root / "s.json") == []
    backend.close()


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))"
    room = "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))"
    (printed,) = finish(start(FILL.replace("LIMIT", limit).replace("ROOM", room), tmp_path))
    judge_full(tmp_path, printed)


def test_a_full_disk(tmp_path: Path) -> None:
    """A file system of one megabyte, in a mount namespace of its own; it is read before the namespace ends with its process."""
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    limit = 'filler = open(os.path.join(os.path.dirname(root), "filler"), "wb"); filler.write(bytes(700_000)); filler.flush()'
    room = f"""
os.unlink(filler.name); filler.close()
import atexit, shutil
atexit.register(lambda: shutil.copytree(root, {str(copy)!r}))
"""
    script = FILL.replace("LIMIT", limit).replace("ROOM", room)
    mount = ("unshare", "--mount", "--map-root-user", "sh", "-c", f'mount -t tmpfs -o size=1m none {disk} && exec "$@"', "sh")
    (printed,) = finish(start(script, disk / "sessions", before=mount))
    judge_full(copy, printed)


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_a_disk_that_fails_to_sync(tmp_path: Path, call: str) -> None:
    assert shutil.which("strace"), "this test needs strace: apt-get install strace"
    script = """
from turnlog.errors import StorageError
backend = JsonFileBackend(root, lock_timeout=30)
drive(backend.put_head(Head(session_id="s", run="r1", born="b"), expect=None))
acknowledged, errors, rows = [], 0, 0
for number in range(30):
    for _ in range(5):
        try:
            drive(backend.append("s", [record(f"m{number}"), record(f"n{number}")], now=3.0, expect=None))
            acknowledged += [f"m{number}", f"n{number}"]
            break
        except StorageError as error:
            assert error.errno == 5, error
            errors += 1
    try:
        drive(backend.put_row("s", "r1", "snapshot", f"k{number}", "1"))
        rows += 1
    except StorageError as error:
        assert error.errno == 5, error
        errors += 1
        drive(backend.put_row("s", "r1", "snapshot", f"k{number}", "1"))
print(errors)
assert stored(backend) == acknowledged, (stored(backend), acknowledged)
assert len(drive(backend.get_rows("s", "r1", "snapshot"))) == 30
"""
    quiet = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when=4+7")
    (printed,) = finish(start(script, tmp_path, before=quiet))
    assert int(printed) >= 4
    backend = directory(tmp_path)
    assert all_ids(backend) == [f"{side}{number}" for number in range(30) for side in "mn"]
    assert len(document(tmp_path / "s.json")["messages"]) == 60
    assert beside(tmp_path / "s.json") == []
    backend.close()


class TestForks:
    """A child that used its parent's files would share its lock, and give it back while the parent needs it."""

    def test_parent_and_children_all_go_on(self, tmp_path: Path) -> None:
        script = """
drive(backend.put_head(Head(session_id="s", run="r1", born="b"), expect=None))
append(backend, "before")
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        for number in range(100):
            append(backend, f"child {child}.{number}")
            drive(backend.get_head("s"))
        drive(backend.close())
        os._exit(0)
    children.append(pid)
for number in range(100):
    append(backend, f"parent {number}")
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
ids = stored(backend)
assert len(ids) == len(set(ids)) == 501, len(ids)
"""
        finish(start(script, tmp_path))

    def test_a_child_does_not_give_its_parents_lock_back(self, tmp_path: Path) -> None:
        script = """
from turnlog.errors import LockTimeoutError
drive(backend.put_head(Head(session_id="s", run="r1", born="b"), expect=None))
append(backend, "before")
scope = backend.together("s")
drive(scope.__aenter__())
pid = os.fork()
if pid == 0:
    backend._sessions.lock_timeout = 0.1
    try:
        append(backend, "child")
    except LockTimeoutError:
        os._exit(0)
    os._exit(1)
assert os.waitpid(pid, 0)[1] == 0
other = JsonFileBackend(root, durability="process", lock_timeout=0.1)
try:
    append(other, "other")
except LockTimeoutError:
    append(backend, "in the scope")
drive(scope.__aexit__(None, None, None))
append(other, "after")
assert stored(backend) == ["before", "in the scope", "after"], stored(backend)
"""
        finish(start(script, tmp_path))

    def test_other_threads_may_be_at_work_and_children_may_stay(self, tmp_path: Path) -> None:
        script = """
import multiprocessing
for name in ("s", "t"):
    drive(backend.put_head(Head(session_id=name, run="r1", born="b"), expect=None))
stop = threading.Event()

def work(name):
    number = 0
    while not stop.is_set():
        append(backend, f"{name}.{number}")
        drive(JsonFileBackend(root, durability="process", lock_timeout=30).get_head("t"))
        number += 1

def child(number):
    append(backend, f"child {number}")
    finished.wait()

context = multiprocessing.get_context("fork")
finished = context.Event()
threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
for thread in threads:
    thread.start()
children = [context.Process(target=child, args=(number,)) for number in range(12)]
for each in children:
    each.start()
deadline = __import__("time").monotonic() + 30
while len([each for each in stored(backend) if each.startswith("child")]) < 12:
    assert __import__("time").monotonic() < deadline
stop.set()
for thread in threads:
    thread.join()
# The children live on; whatever they have open, no lock is held.
fresh = JsonFileBackend(root, durability="process", lock_timeout=1)
append(fresh, "last")
assert drive(fresh.get_head("t")) is not None
finished.set()
for each in children:
    each.join()
    assert each.exitcode == 0
"""
        finish(start(script, tmp_path))
