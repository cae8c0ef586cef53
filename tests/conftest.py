"""What every test gets: a home of its own, and a way to run Python in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The kit comes first: its tests are few and long, and one core would still be at them when the others have finished."""
    items.sort(key=lambda item: not item.path.stem.endswith("_kit"))


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory; no test sees or touches the sessions of the person who runs it."""
    path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(path))
    for name in ("PRAISONAI_HOME", "TURNLOG_STORE"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def run_python(home: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python *arguments`` in ``tmp_path``; fails the test with what it printed unless it ends with ``status``."""

    def run(*arguments: str, status: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1", **variables}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == status, f"ended with {done.returncode}, not {status}\n{done.stdout}\n{done.stderr}"
        return done

    return run
