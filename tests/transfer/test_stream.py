"""Reading piece by piece: the same values as json.loads whatever the pieces, and memory that does not grow with the file."""

from __future__ import annotations

import io
import json
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.transfer.conftest import names
from tests.transfer.conversations import write_large
from turnlog.session import SqliteSessionStore
from turnlog.transfer import BrokenImportError, export_sessions, stream
from turnlog.transfer.stream import JsonStream

MB = 1024 * 1024


def values(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON value."""
    kind = chance.randrange(9 if depth < 4 else 7)
    if kind == 7:
        return [values(chance, depth + 1) for _ in range(chance.randrange(5))]
    if kind == 8:
        return {text(chance): values(chance, depth + 1) for _ in range(chance.randrange(5))}
    return [None, True, chance.randrange(-(10**30), 10**30), chance.random() * 10 ** chance.randrange(-300, 300), text(chance), "", 0][kind]


def text(chance: random.Random) -> str:
    """Text with what is hard to cut."""
    return "".join(chance.choice('ab"\\\n\t é🙂\x00\ud800\u2028/') for _ in range(chance.randrange(20)))


def taken(read: JsonStream) -> dict[str, Any]:
    """What the stream holds, all of it."""
    found = {key: list(read.elements()) if key == "items" else read.value() for key in read.members()}
    read.end()
    return found


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_any_value_in_any_pieces(piece: int, ascii_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PIECE", piece)
    chance = random.Random(piece)
    for _ in range(60):
        whole = [values(chance) for _ in range(chance.randrange(6))]
        written = json.dumps({"before": 1, "items": whole, "after": [1.5]}, ensure_ascii=ascii_only, indent=chance.choice([None, 1]))
        data = written.encode("utf-8", "backslashreplace")
        read = JsonStream(io.BytesIO(chance.choice([b"", b"\xef\xbb\xbf", b" \n"]) + data), "x")
        assert taken(read) == {"before": 1, "items": json.loads(json.dumps(whole)), "after": [1.5]}


@pytest.mark.parametrize("piece", [1, 5, 4096])
def test_every_cut_and_every_wrong_byte(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "PIECE", piece)
    data = json.dumps({"items": [1, -2.5e10, 'a\\"\u00e9', {"k": [True, None]}], "b": {}}).encode()
    for end in range(len(data)):
        with pytest.raises(BrokenImportError):
            taken(JsonStream(io.BytesIO(data[:end]), "x"))
    refused = 0
    for place in range(len(data)):
        for wrong in (b"\x00", b"}", b"]", b"\xff", b"@", b"7"):
            changed = data[:place] + wrong + data[place + 1 :]
            try:
                right = json.loads(changed)
            except ValueError:
                refused += 1
                with pytest.raises(BrokenImportError):
                    taken(JsonStream(io.BytesIO(changed), "x"))
            else:
                assert taken(JsonStream(io.BytesIO(changed), "x")) == right
    assert refused > len(data)


def test_a_value_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LONGEST", MB)
    endless = io.BytesIO(b'["' + b"x" * (8 * MB))
    with pytest.raises(BrokenImportError, match="more than 1048576 characters"):
        list(JsonStream(endless, "x").elements())
    assert endless.tell() < 4 * MB


def test_damage_is_seen_where_it_is() -> None:
    broken = io.BytesIO(b'[{"a": 1}, {"a": ?}, "' + b"x" * (8 * MB) + b'"]')
    with pytest.raises(BrokenImportError, match="character 17"):
        list(JsonStream(broken, "x").elements())
    assert broken.tell() < MB


IMPORT = """
import resource, sys
from turnlog.session import open_store
from turnlog.transfer import import_path
with open_store(sys.argv[1]) as store:
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = import_path(store, sys.argv[2])
    print(report.sessions, report.already_there, len(report.skipped))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    """A directory for large files, gone when the test is over."""
    path = tmp_path / "large"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def grown(run: Run, store: Path, path: Path, *expected: int) -> int:
    """Import a file in a process of its own; by how many bytes its memory grew."""
    lines = run("-c", IMPORT, f"sqlite://{store}?durability=process", str(path)).stdout.split()
    assert tuple(map(int, lines[:3])) == expected
    return int(lines[3]) * 1024


def test_a_hundred_megabytes_in_bounded_memory(run_python: Run, large: Path) -> None:
    path = large / "conversations.json"
    with path.open("w", encoding="utf-8") as out:
        count = write_large(out, 100 * MB)
    assert path.stat().st_size > 100 * MB
    assert grown(run_python, large / "large.sqlite", path, 2 * count, 0, 0) < 40 * MB


def test_again_and_out_and_in_in_bounded_memory(run_python: Run, large: Path) -> None:
    path, own, target = large / "conversations.json", large / "own.json", large / "large.sqlite"
    with path.open("w", encoding="utf-8") as out:
        count = write_large(out, 60 * MB)
    assert grown(run_python, target, path, 2 * count, 0, 0) < 25 * MB
    assert grown(run_python, target, path, 0, 2 * count, 0) < 25 * MB
    with SqliteSessionStore(target) as store, own.open("w", encoding="utf-8") as out:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert export_sessions(store, out).sessions == 2 * count
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 25 * MB
    assert own.stat().st_size > 60 * MB
    # Last changed first, so forks come before their parents and wait.
    assert grown(run_python, large / "again.sqlite", own, 2 * count, 0, 0) < 25 * MB
    with SqliteSessionStore(large / "again.sqlite") as store:
        assert len(names(store)) == 2 * count
        assert store.get_ancestors("c7.other") == ["c7"]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_gigabytes_in_bounded_memory(run_python: Run, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = large / "conversations.json"
    with path.open("w", encoding="utf-8") as out:
        count = write_large(out, 2048 * MB)
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *args, **named: run(*args, **{**named, "timeout": 3000}))
    assert grown(run_python, large / "huge.sqlite", path, 2 * count, 0, 0) < 60 * MB
