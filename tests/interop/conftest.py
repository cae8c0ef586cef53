"""Two programs on one folder: a factory of peers, each a store in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.stand_in_model import StandInModel

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"


class Peer:
    """A store in another process. Every verb of the store is a method here; its value comes back as plain JSON values."""

    def __init__(self, module: str, kind: str, folder: Path, **options: Any) -> None:
        command = [sys.executable, str(HERE / "peer.py"), module, kind, str(folder), json.dumps(options)]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def send(self, verb: str, *arguments: Any, **named: Any) -> None:
        """Ask without waiting for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([verb, arguments, named]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """The value of the oldest unanswered question; the peer's error fails the test with its text."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the peer process ended"
        given = json.loads(line)
        assert "error" not in given, f"{given['error']}: {given['text']}"
        return given["value"]

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.send(verb, *arguments, **named)
            return self.answer()

        return call

    def stop(self) -> None:
        """End the process; it must end well."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self.process.stdout.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The session folder that both programs use."""
    path = tmp_path / "sessions"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def peer(folder: Path) -> Iterator[Callable[..., Peer]]:
    """``peer("turnlog" or "praisonaiagents", class name, **constructor arguments)``."""
    started: list[Peer] = []

    def start(program: str, kind: str = "DefaultSessionStore", **options: Any) -> Peer:
        started.append(Peer(f"{program}.session", kind, folder, **options))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def model() -> Iterator[StandInModel]:
    """A stand-in model server; its ``environment`` makes a program talk to it."""
    server = StandInModel()
    yield server
    server.close()
