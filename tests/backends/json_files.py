"""What the tests of the JSON files share: a directory of sessions, writers in processes of their own, what any program sees in a file."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.backends.conftest import Driven
from tests.backends.samples import a_head, record
from turnlog.backends.json_file import JsonFileBackend

SOURCE = Path(__file__).parents[2] / "src"

PRELUDE = """
import sys, os, signal, threading
from turnlog.backends.json_file import JsonFileBackend
from turnlog.heads import Head, Stretch
from turnlog.messages import Record
from turnlog.store.drive import drive

def record(identity, content=""):
    return Record(-1, identity, 1.0, '{"role":"user","content":"' + (content or identity) + '"}', None)

def append(backend, *identities, content=""):
    return drive(backend.append("s", [record(identity, content) for identity in identities], now=3.0, expect=None))

def stored(backend):
    return [each.id for each in drive(backend.read("s", [Stretch("r1", 0, 10**9)]))]

root = sys.argv[1]
backend = JsonFileBackend(root, durability="process", lock_timeout=30)
"""


def directory(root: Path, *, durability: Any = "process", lock_timeout: float = 5.0) -> Driven:
    """A backend on ``root``."""
    return Driven(JsonFileBackend(root, durability=durability, lock_timeout=lock_timeout))


def start(script: str, *arguments: object, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A process that runs ``PRELUDE`` and then ``script``; ``before`` is a command that runs it."""
    command = [*before, sys.executable, "-c", PRELUDE + script, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def finish(*processes: subprocess.Popen[str]) -> list[str]:
    """What the processes printed; fails with their errors."""
    results = [(*process.communicate(timeout=100), process.returncode) for process in processes]
    for _, err, status in results:
        assert status == 0, err
    return [out for out, _, _ in results]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The lock of a document, as another program takes it."""
    with open(f"{path}.lock", "a") as lock:
        os.chmod(lock.name, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def document(path: Path) -> dict[str, Any]:
    """The document as any program that takes the lock sees it."""
    with locked(path):
        found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def beside(path: Path) -> list[str]:
    """The names of all files of a session but the document and its lock."""
    return sorted(each.name for each in path.parent.iterdir() if each.name.startswith(path.name + ".") and not each.name.endswith(".lock"))


def long_session(backend: Driven, session_id: str = "s") -> None:
    """A session so long that changes of its fields go to the side file."""
    backend.put_head(a_head(session_id), expect=None)
    backend.append(session_id, [record(f"long {number}", "x" * 1000) for number in range(100)], now=3.0, expect=None)


def set_title(backend: Driven, title: str, session_id: str = "s") -> None:
    head = backend.get_head(session_id)
    assert backend.put_head(replace(head, counter=head.counter + 1, fields={**head.fields, "title": title}), expect=head.revision)
