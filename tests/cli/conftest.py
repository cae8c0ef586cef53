"""What the tests of the command line get: a store with a few sessions at a URL, and ways to run a command on it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from turnlog.cli.commands import app
from turnlog.session import SessionStore, open_store

ROOT = Path(__file__).parents[2]
WEATHER = [
    {"role": "system", "content": "You plan trips."},
    {"role": "user", "content": "How is the weather in Lisbon?\nAnd in Porto?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Lisbon"}'}},
            {"id": "call_2", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Porto"}'}},
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny\n28 degrees"},
    {"role": "tool", "tool_call_id": "call_2", "content": "rain"},
    {"role": "assistant", "content": "Sunny in Lisbon, rain in Porto."},
]
"""A turn with two calls: six messages."""

Run = Callable[..., Result]


@pytest.fixture(params=["json", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the sessions are."""
    place = tmp_path / "place"
    place.mkdir()
    return f"json://{place}/sessions" if request.param == "json" else f"sqlite://{place}/s.sqlite"


@pytest.fixture
def store(url: str) -> Iterator[SessionStore]:
    """The store at the URL: ``trip`` with a turn of six messages, its fork ``trip-train`` with one more, and ``other``."""
    with open_store(f"{url}?durability=process") as opened:
        opened.create_session("trip", title="Trip to Lisbon", agent_name="Assistant")
        opened.add_messages("trip", WEATHER)
        opened.fork_session("trip", 5, "By train", new_session_id="trip-train")
        opened.add_message("trip-train", "user", "And by train?")
        opened.add_message("other", "user", "Hello")
        yield opened


@pytest.fixture
def run(url: str, store: SessionStore) -> Run:
    """Run a command on the store, within this process; fails the test unless it ends with ``status``."""

    def invoke(*arguments: str, status: int = 0, **more: Any) -> Result:
        result = CliRunner().invoke(app, ["--store", url, *arguments], prog_name="turnlog", **more)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, f"ended with {result.exit_code}, not {status}\n{result.stdout}\n{result.stderr}"
        return result

    return invoke


@pytest.fixture
def read(run: Run) -> Callable[..., Any]:
    """Run a command that reads, with --json, and give the document."""
    return lambda *arguments, **more: json.loads(run(*arguments, "--json", **more).stdout)


def command(*arguments: str) -> list[str]:
    """The command line in a process of its own."""
    return [sys.executable, "-m", "turnlog", *arguments]


def variables(**more: str) -> dict[str, str]:
    """The environment of such a process."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "PAGER", "LESS", "COLUMNS")}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1", **more}


def on_terminal(arguments: list[str], typed: str = "", *, after: str = "", **more: str) -> tuple[int, str]:
    """Run a command on a terminal of its own, type ``typed`` once ``after`` is there; gives the exit status and all that was shown."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=variables(**{"TERM": "xterm", **more}), start_new_session=True
    ) as process:
        os.close(theirs)
        seen, keys = b"", typed.encode()
        while True:
            if keys and after.encode() in seen:
                keys = keys[os.write(ours, keys) :]
            if not (piece := _read(ours)):
                break
            seen += piece
        os.close(ours)
        return process.wait(timeout=60), seen.decode().replace("\r\n", "\n")


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # a terminal whose last program has ended
        return b""
