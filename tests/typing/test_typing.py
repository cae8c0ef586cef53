"""Types as a user meets them: what mypy says of a program that uses turnlog, and what isinstance says at run time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.typing.consumer import FourMethods, OwnAsyncStore, OwnStore, talk
from tests.typing.documented_store import InMemorySessionStore as DocumentedStore
from turnlog.session import AsyncSessionStoreProtocol, InMemorySessionStore, SessionStoreProtocol, open_async_store

ROOT = Path(__file__).parents[2]
CONSUMER = ROOT / "tests" / "typing" / "consumer.py"
MARK = re.compile(r"  # type: ignore.*")


def mypy(path: Path) -> list[str]:
    """The errors of mypy --strict on one file, as ``file:line: error: …`` lines. What `make check` has learnt is used."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if ": error:" in line]


@pytest.mark.timeout(300)  # without `make check` before it, it looks at all that turnlog imports
def test_mypy_accepts_the_consumer_and_rejects_each_marked_line(tmp_path: Path) -> None:
    assert mypy(CONSUMER) == []
    source = CONSUMER.read_text(encoding="utf-8").splitlines()
    marked = {number for number, line in enumerate(source, 1) if MARK.search(line)}
    assert len(marked) == 8
    bare = tmp_path / "bare.py"
    bare.write_text("\n".join(MARK.sub("", line) for line in source) + "\n", encoding="utf-8")
    assert {int(line.split(":")[1]) for line in mypy(bare)} == marked


@pytest.mark.parametrize("store", [OwnStore(), DocumentedStore(), InMemorySessionStore()], ids=lambda store: type(store).__module__)
def test_a_store_is_known_by_its_five_methods(store: SessionStoreProtocol) -> None:
    assert (isinstance(store, SessionStoreProtocol), isinstance(store, AsyncSessionStoreProtocol)) == (True, False)
    assert talk(store) == 1
    assert store.get_chat_history("chat") == [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("store", [OwnAsyncStore(), open_async_store("memory://")], ids=lambda store: type(store).__name__)
def test_an_async_store_is_not_taken_for_a_sync_one(store: object) -> None:
    assert (isinstance(store, SessionStoreProtocol), isinstance(store, AsyncSessionStoreProtocol)) == (False, True)


def test_four_methods_are_no_store() -> None:
    assert not isinstance(FourMethods(), SessionStoreProtocol)
    assert not isinstance(object(), SessionStoreProtocol)
    assert not isinstance(FourMethods(), AsyncSessionStoreProtocol)
