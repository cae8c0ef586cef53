"""Processes that write at once, and processes killed with -9: nothing acknowledged is lost, no turn is split, the order is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: object, timeout: float) -> dict[str, int]:
    """The figures of a run of the writers; fails with what they said."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "tests.crash.writers", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    figures: dict[str, int] = json.loads(done.stdout)
    return figures


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_many_processes_write_one_session(kind: str, tmp_path: Path) -> None:
    run("race", kind, tmp_path, timeout=100)


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_a_hundred_rounds_of_kill_9(kind: str, tmp_path: Path) -> None:
    figures = run("kill", kind, tmp_path, 100, 1, timeout=100)
    assert figures["acknowledged"] > 100


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_twenty_five_hundred_rounds_of_kill_9(kind: str, tmp_path: Path) -> None:
    figures = run("kill", kind, tmp_path, 2500, 2, timeout=3600)
    assert figures["acknowledged"] > 2500
