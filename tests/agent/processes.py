"""Agents' processes under a test's command: they are given turns, watched, killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.agent.api_client import ROOT


class Nursery:
    """A process that has imported everything and forks agents, so that a new process takes milliseconds."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "nursery")
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "tests.agent.program", "nursery", self.path]
        self._process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "listening\n"

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate(timeout=20)


class AgentProcess:
    """An agent that serves. ``send`` gives a command, ``answer`` takes what came of it."""

    def __init__(self, nursery: Nursery, url: str, kind: str, place: Path, session_id: str = "chat", **memory: Any) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(60)
        self._connection.connect(nursery.path)
        self._lines = self._connection.makefile("rw", encoding="utf-8")
        self._write({"url": url, "kind": kind, "place": str(place), "session_id": session_id, "memory": memory})
        self.pid: int | None = self.answer()["pid"]

    def send(self, verb: str, **options: Any) -> None:
        """Give a command."""
        self._write({"verb": verb, **options})

    def answer(self) -> dict[str, Any]:
        """What came of the command; {} from a process that was killed."""
        try:
            line = self._lines.readline()
        except ConnectionError:
            return {}
        answer: dict[str, Any] = json.loads(line) if line.endswith("\n") else {}
        return answer

    def ask(self, verb: str, **options: Any) -> Any:
        """A command to its end; fails with what it raised."""
        self.send(verb, **options)
        answer = self.answer()
        assert "answer" in answer, answer
        return answer["answer"]

    def kill(self) -> None:
        """End the process as ``kill -9`` does. What it had answered can still be read."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            self.pid = None

    def close(self) -> None:
        """Kill the process and hang up."""
        self.kill()
        with suppress(BrokenPipeError):
            self._lines.close()
        self._connection.close()

    def _write(self, value: Any) -> None:
        self._lines.write(json.dumps(value) + "\n")
        self._lines.flush()
